#include "protocol/oci_convert.h"

#include "oci/bounds.h"
#include "protocol/converter.h"

namespace kata::protocol {
void Converter::Convert(const oci::Mount& from, grpc::Mount* to) {
  to->set_destination(from.destination);
  to->set_source(from.source);
  to->set_type(from.type);
  Convert(from.options, to->mutable_options());
  ConvertList(from.uid_mappings, to->mutable_uid_mappings());
  ConvertList(from.gid_mappings, to->mutable_gid_mappings());
}
void Converter::Convert(const grpc::Mount& from, oci::Mount* to) {
  to->destination = from.destination();
  to->source = from.source();
  to->type = from.type();
  Convert(from.options(), &to->options);
  ConvertList(from.uid_mappings(), &to->uid_mappings);
  ConvertList(from.gid_mappings(), &to->gid_mappings);
}

void Converter::Convert(const oci::Hook& from, grpc::Hook* to) {
  to->set_path(from.path);
  Convert(from.args, to->mutable_args());
  Convert(from.env, to->mutable_env());
  if (from.timeout_seconds) to->set_timeout(*from.timeout_seconds);
}
void Converter::Convert(const grpc::Hook& from, oci::Hook* to) {
  to->path = from.path();
  Convert(from.args(), &to->args);
  Convert(from.env(), &to->env);
  if (from.has_timeout()) to->timeout_seconds = from.timeout();
}

void Converter::Convert(const oci::Hooks& from, grpc::Hooks* to) {
  ConvertList(from.prestart, to->mutable_prestart());
  ConvertList(from.create_runtime, to->mutable_createruntime());
  ConvertList(from.create_container, to->mutable_createcontainer());
  ConvertList(from.start_container, to->mutable_startcontainer());
  ConvertList(from.poststart, to->mutable_poststart());
  ConvertList(from.poststop, to->mutable_poststop());
}
void Converter::Convert(const grpc::Hooks& from, oci::Hooks* to) {
  ConvertList(from.prestart(), &to->prestart);
  ConvertList(from.createruntime(), &to->create_runtime);
  ConvertList(from.createcontainer(), &to->create_container);
  ConvertList(from.startcontainer(), &to->start_container);
  ConvertList(from.poststart(), &to->poststart);
  ConvertList(from.poststop(), &to->poststop);
}

grpc::Spec ToProto(const oci::Spec& from) {
  grpc::Spec to;
  to.set_version(from.oci_version);
  if (from.process) Converter::Convert(*from.process, to.mutable_process());
  if (from.root) {
    to.mutable_root()->set_path(from.root->path);
    to.mutable_root()->set_readonly(from.root->readonly);
  }
  to.set_hostname(from.hostname);
  to.set_domainname(from.domainname);
  Converter::ConvertList(from.mounts, to.mutable_mounts());
  Converter::Convert(from.hooks, to.mutable_hooks());
  if (to.hooks().ByteSizeLong() == 0) to.clear_hooks();
  Converter::Convert(from.annotations, to.mutable_annotations());
  if (from.linux) Converter::Convert(*from.linux, to.mutable_linux());
  return to;
}

grpc::Process ToProto(const oci::Process& process) {
  grpc::Process to;
  Converter::Convert(process, &to);
  return to;
}

grpc::LinuxResources ToProto(const oci::Resources& resources) {
  grpc::LinuxResources to;
  Converter::Convert(resources, &to);
  return to;
}

Result<oci::Spec> FromProto(const grpc::Spec& from) {
  oci::Spec to;
  to.oci_version = from.version();
  if (from.has_process()) Converter::Convert(from.process(), &to.process.emplace());
  if (from.has_root()) to.root = {from.root().path(), from.root().readonly()};
  to.hostname = from.hostname();
  to.domainname = from.domainname();
  Converter::ConvertList(from.mounts(), &to.mounts);
  Converter::Convert(from.hooks(), &to.hooks);
  Converter::Convert(from.annotations(), &to.annotations);
  if (from.has_linux()) TRY_CTX(Converter::Convert(from.linux(), &to.linux.emplace()), "linux");
  TRY(oci::CheckBounds(to));
  return to;
}

Result<oci::Process> FromProto(const grpc::Process& process) {
  oci::Process to;
  Converter::Convert(process, &to);
  TRY(oci::CheckBounds(to));
  return to;
}

Result<oci::Resources> FromProto(const grpc::LinuxResources& resources) {
  oci::Resources to;
  TRY(Converter::Convert(resources, &to));
  TRY(oci::CheckBounds(to));
  return to;
}

}  // namespace kata::protocol
