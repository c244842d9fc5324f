# shellcheck shell=bash
# What demo, shell and bench share: a container made of busybox, and a configuration
# that points at this build. Sourced, with the checkout as working directory.

kata=$PWD/build/release/bin/kata-runtime
guest=$PWD/build/release/guest

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# make_config FILE: the configuration for kata-runtime --config.
make_config() {
  local qemu virtiofsd
  qemu=$(command -v qemu-system-x86_64) || die "qemu-system-x86_64 is missing: run './dev setup'"
  # Debian 13 and Debian 12 keep it in different places.
  for virtiofsd in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
    [[ ! -x $virtiofsd ]] || break
  done
  cat >"$1" <<TOML
[hypervisor.qemu]
path = "$qemu"
kernel = "$guest/vmlinux"
initrd = "$guest/initrd.img"
machine_type = "q35"
default_vcpus = 1
default_memory = 256
shared_fs = "virtio-fs"
virtio_fs_daemon = "$virtiofsd"
TOML
}

# make_bundle DIR TERMINAL COMMAND...: an OCI bundle that runs the command.
make_bundle() {
  local dir=$1 terminal=$2
  shift 2
  mkdir -p "$dir/rootfs"/{bin,dev,etc,proc,sys,tmp}
  cp /bin/busybox "$dir/rootfs/bin/busybox"
  # Relative links: the absolute ones would name the host's busybox.
  local applet
  while read -r applet; do
    [[ $applet == busybox ]] || ln -sf busybox "$dir/rootfs/bin/$applet"
  done < <(busybox --list)
  (cd "$dir" && "$kata" spec) || die "kata-runtime cannot write a specification"
  # One argument per line; jq's --args would take "-c" for an option of its own.
  printf '%s\n' "$@" | jq --null-input --raw-input --argjson terminal "$terminal" \
    --slurpfile spec "$dir/config.json" '[inputs] as $args | $spec[0]
      | .process.terminal = $terminal | .process.args = $args | .root.readonly = false' \
    >"$dir/config.new"
  mv "$dir/config.new" "$dir/config.json"
}
