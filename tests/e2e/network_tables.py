"""What a container sees of its network, in a form that is the same for two containers of one network."""

import re

# For the shell of busybox.
SCRIPT = r"""
ip -o addr | grep ' inet'; ip route; ip -6 route
ip -o link | grep '[<,]UP[,>]' | sed 's/^[0-9]*: \([^:@]*\).* mtu \([0-9]*\) .*/\1 mtu \2/'
cd /proc/sys/net/ipv6/conf
for i in all default lo eth0 eth1; do
    for f in disable_ipv6 accept_ra autoconf; do [ ! -e $i/$f ] || echo "$i $f $(cat $i/$f)"; done
done
"""


def normalized(text, own=()):
    """The lines of SCRIPT's output, sorted. `own`: the container's own addresses, which another does not have."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"^\d+: ", "", line)
        line = re.sub(r"\bfe80::[0-9a-f:]*:[0-9a-f:]+", "LINK-LOCAL", line)
        for number, address in enumerate(own):
            line = re.sub(rf"(?<![0-9a-f:.]){re.escape(address)}(?![0-9a-f:.])", f"OWN-{number}", line)
        # How the address was checked, not what it is.
        line = re.sub(r" (flags [0-9a-f]+|tentative|nodad)\b", "", line)
        lines.append(re.sub(r"[ \\]+", " ", line).strip())
    return sorted(lines)


def own_addresses(networks):
    """Of the "Networks" that an engine's inspect shows."""
    return [network[key] for _, network in sorted(networks.items()) for key in ("IPAddress", "GlobalIPv6Address")
            if network.get(key)]
