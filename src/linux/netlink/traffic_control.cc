#include "linux/netlink/traffic_control.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>

#include <cerrno>

namespace kata::linux {
namespace {

using netlink::MessageBuilder;

constexpr uint16_t kRequest = NLM_F_REQUEST | NLM_F_ACK;
constexpr uint32_t kIngressHandle = TC_H_MAKE(TC_H_INGRESS, 0);
constexpr uint32_t kPriority = 1;
// Actions of a filter form a list that counts from 1 (TCA_ACT_MAX_PRIO).
constexpr uint16_t kFirstAction = 1;

template <typename T>
std::string_view Bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// A u32 selector whose only key compares nothing: every packet fits. (cls_matchall would say it more plainly;
// many kernels are built without.)
void AddMatchAll(MessageBuilder& request) {
  tc_u32_sel selector{};
  selector.flags = TC_U32_TERMINAL;
  selector.nkeys = 1;
  const tc_u32_key key{};
  std::string payload(Bytes(selector));
  payload += Bytes(key);
  request.Add(TCA_U32_SEL, payload);
}

void AddRedirectAction(MessageBuilder& request, int to) {
  const size_t actions = request.BeginNest(TCA_U32_ACT);
  const size_t action = request.BeginNest(kFirstAction);
  request.AddString(TCA_ACT_KIND, "mirred");
  const size_t options = request.BeginNest(TCA_ACT_OPTIONS);
  tc_mirred mirred{};
  mirred.action = TC_ACT_STOLEN;
  mirred.eaction = TCA_EGRESS_REDIR;
  mirred.ifindex = static_cast<uint32_t>(to);
  request.Add(TCA_MIRRED_PARMS, Bytes(mirred));
  request.EndNest(options);
  request.EndNest(action);
  request.EndNest(actions);
}

}  // namespace

MessageBuilder IngressQdiscRequest(uint16_t type, uint16_t flags, int link) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = link;
  header.tcm_handle = kIngressHandle;
  header.tcm_parent = TC_H_INGRESS;
  MessageBuilder request(type, static_cast<uint16_t>(kRequest | flags), header);
  request.AddString(TCA_KIND, "ingress");
  return request;
}

MessageBuilder RedirectRequest(int from, int to) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = from;
  header.tcm_parent = kIngressHandle;
  header.tcm_info = TC_H_MAKE(kPriority << 16, htons(ETH_P_ALL));
  MessageBuilder request(RTM_NEWTFILTER, kRequest | NLM_F_CREATE | NLM_F_EXCL, header);
  request.AddString(TCA_KIND, "u32");
  const size_t options = request.BeginNest(TCA_OPTIONS);
  AddMatchAll(request);
  AddRedirectAction(request, to);
  request.EndNest(options);
  return request;
}

Status AddIngressQdisc(RouteSocket& socket, int link) {
  TRY_CTX(socket.Request(IngressQdiscRequest(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, link)),
          "add an ingress qdisc");
  return {};
}

Status DeleteIngressQdisc(RouteSocket& socket, int link) {
  Status status = socket.Request(IngressQdiscRequest(RTM_DELQDISC, 0, link));
  if (status) return {};
  // ENOENT, or EINVAL in older kernels: no such qdisc (tc_get_qdisc); ENODEV: no such link.
  const int number = status.error().sys_errno();
  if (number == ENOENT || number == EINVAL || number == ENODEV) return {};
  return std::move(status).error().Wrap("delete an ingress qdisc");
}

Status RedirectIngress(RouteSocket& socket, int from, int to) {
  TRY_CTX(socket.Request(RedirectRequest(from, to)), "redirect what arrives");
  return {};
}

}  // namespace kata::linux
