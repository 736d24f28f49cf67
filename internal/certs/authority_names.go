package certs

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// parseNetwork reads an IP address or a network; isIP is false for a name.
func parseNetwork(text string) (prefix netip.Prefix, isIP bool, err error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), true, nil
	}
	if !strings.Contains(text, "/") {
		return netip.Prefix{}, false, nil
	}
	prefix, err = netip.ParsePrefix(text)
	if err != nil || prefix.Bits() < 8 {
		return netip.Prefix{}, false, fmt.Errorf("%q is not a network of a hospital; write it like 10.1.0.0/16", text)
	}
	return prefix.Masked(), true, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// dnsName returns a host name in lower case, or says why it is none.
func dnsName(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	remedy := "write a host name like video.hospital.example, or an IP address"
	if len(name) == 0 || len(name) > 253 {
		return "", fmt.Errorf("%q is not a name; %s", text, remedy)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return "", fmt.Errorf("%q is not a name; %s", text, remedy)
		}
		for _, r := range label {
			if r > 127 {
				return "", fmt.Errorf("%q has letters outside ASCII; write it in its xn-- form", text)
			}
			if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') {
				return "", fmt.Errorf("%q is not a name; %s", text, remedy)
			}
		}
	}
	return name, nil
}
