// The process section.
#include "protocol/converter.h"

namespace kata::protocol {
void Converter::Convert(const oci::User& from, grpc::User* to) {
  to->set_uid(from.uid);
  to->set_gid(from.gid);
  to->mutable_additionalgids()->Assign(from.additional_gids.begin(), from.additional_gids.end());
  to->set_username(from.username);
  if (from.umask) to->set_umask(*from.umask);
}
void Converter::Convert(const grpc::User& from, oci::User* to) {
  to->uid = from.uid();
  to->gid = from.gid();
  to->additional_gids.assign(from.additionalgids().begin(), from.additionalgids().end());
  to->username = from.username();
  if (from.has_umask()) to->umask = from.umask();
}

void Converter::Convert(const oci::Capabilities& from, grpc::LinuxCapabilities* to) {
  Convert(from.bounding, to->mutable_bounding());
  Convert(from.effective, to->mutable_effective());
  Convert(from.inheritable, to->mutable_inheritable());
  Convert(from.permitted, to->mutable_permitted());
  Convert(from.ambient, to->mutable_ambient());
}
void Converter::Convert(const grpc::LinuxCapabilities& from, oci::Capabilities* to) {
  Convert(from.bounding(), &to->bounding);
  Convert(from.effective(), &to->effective);
  Convert(from.inheritable(), &to->inheritable);
  Convert(from.permitted(), &to->permitted);
  Convert(from.ambient(), &to->ambient);
}

void Converter::Convert(const oci::Rlimit& from, grpc::POSIXRlimit* to) {
  to->set_type(from.type);
  to->set_hard(from.hard);
  to->set_soft(from.soft);
}
void Converter::Convert(const grpc::POSIXRlimit& from, oci::Rlimit* to) {
  to->type = from.type();
  to->hard = from.hard();
  to->soft = from.soft();
}

void Converter::Convert(const oci::Scheduler& from, grpc::Scheduler* to) {
  to->set_policy(from.policy);
  to->set_nice(from.nice);
  to->set_priority(from.priority);
  Convert(from.flags, to->mutable_flags());
  to->set_runtime(from.runtime_ns);
  to->set_deadline(from.deadline_ns);
  to->set_period(from.period_ns);
}
void Converter::Convert(const grpc::Scheduler& from, oci::Scheduler* to) {
  to->policy = from.policy();
  to->nice = from.nice();
  to->priority = from.priority();
  Convert(from.flags(), &to->flags);
  to->runtime_ns = from.runtime();
  to->deadline_ns = from.deadline();
  to->period_ns = from.period();
}

void Converter::Convert(const oci::IoPriority& from, grpc::LinuxIOPriority* to) {
  to->set_class_(from.io_class);
  to->set_priority(from.priority);
}
void Converter::Convert(const grpc::LinuxIOPriority& from, oci::IoPriority* to) {
  to->io_class = from.class_();
  to->priority = from.priority();
}

void Converter::Convert(const oci::ExecCpuAffinity& from, grpc::CPUAffinity* to) {
  to->set_initial(from.initial);
  to->set_final(from.final);
}
void Converter::Convert(const grpc::CPUAffinity& from, oci::ExecCpuAffinity* to) {
  to->initial = from.initial();
  to->final = from.final();
}

void Converter::Convert(const oci::Process& from, grpc::Process* to) {
  to->set_terminal(from.terminal);
  if (from.console_size) {
    to->mutable_consolesize()->set_height(from.console_size->height);
    to->mutable_consolesize()->set_width(from.console_size->width);
  }
  Convert(from.user, to->mutable_user());
  Convert(from.args, to->mutable_args());
  Convert(from.env, to->mutable_env());
  to->set_cwd(from.cwd);
  if (from.capabilities) Convert(*from.capabilities, to->mutable_capabilities());
  ConvertList(from.rlimits, to->mutable_rlimits());
  to->set_nonewprivileges(from.no_new_privileges);
  to->set_apparmorprofile(from.apparmor_profile);
  if (from.oom_score_adj) to->set_oomscoreadj(*from.oom_score_adj);
  to->set_selinuxlabel(from.selinux_label);
  if (from.scheduler) Convert(*from.scheduler, to->mutable_scheduler());
  if (from.io_priority) Convert(*from.io_priority, to->mutable_iopriority());
  if (from.exec_cpu_affinity) Convert(*from.exec_cpu_affinity, to->mutable_execcpuaffinity());
}
void Converter::Convert(const grpc::Process& from, oci::Process* to) {
  to->terminal = from.terminal();
  if (from.has_consolesize()) to->console_size = {from.consolesize().height(), from.consolesize().width()};
  Convert(from.user(), &to->user);
  Convert(from.args(), &to->args);
  Convert(from.env(), &to->env);
  to->cwd = from.cwd();
  if (from.has_capabilities()) Convert(from.capabilities(), &to->capabilities.emplace());
  ConvertList(from.rlimits(), &to->rlimits);
  to->no_new_privileges = from.nonewprivileges();
  to->apparmor_profile = from.apparmorprofile();
  if (from.has_oomscoreadj()) to->oom_score_adj = from.oomscoreadj();
  to->selinux_label = from.selinuxlabel();
  if (from.has_scheduler()) Convert(from.scheduler(), &to->scheduler.emplace());
  if (from.has_iopriority()) Convert(from.iopriority(), &to->io_priority.emplace());
  if (from.has_execcpuaffinity()) Convert(from.execcpuaffinity(), &to->exec_cpu_affinity.emplace());
}

}  // namespace kata::protocol
