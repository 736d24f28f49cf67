package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (v *validator) turn(t TURN, m Media) {
	v.number("turn.udp_port", t.UDPPort, 0, 65535)
	if t.Enabled && t.UDPPort != 0 && t.UDPPort == m.UDPPort {
		v.add("turn.udp_port", fmt.Sprintf("%d is media.udp_port too", t.UDPPort),
			"take another: Chromium drops media that comes from the address of its STUN server")
	}
	// It is part of every credential and of every unauthenticated answer.
	if len(t.Realm) < 1 || len(t.Realm) > 64 || strings.ContainsFunc(t.Realm, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == ':' }) {
		v.add("turn.realm", fmt.Sprintf("%q is not a realm", t.Realm), "take 1 to 64 printable ASCII characters without spaces, quotes and colons")
	}
	v.secret("turn.secret", t.Secret)
	v.secret("turn.previous_secret", t.PreviousSecret)
	if t.PreviousSecret != "" && t.Secret == "" {
		v.add("turn.previous_secret", "is set without turn.secret", "set turn.secret too: without it the secret is random")
	}
	v.duration("turn.ttl", t.TTL, time.Minute, day)
	v.word("turn.mode", t.Mode, TURNClosed, TURNOpen)
	v.relayPorts(t, m)
	v.oneOfEachFamily("turn.relay_addresses", t.RelayAddresses)
	v.oneOfEachFamily("turn.relay_public_addresses", t.RelayPublicAddresses)
	v.networks("turn.allow_peers", t.AllowPeers)
	v.number("turn.allocations_per_session", t.AllocationsPerSession, 1, 256)
	v.number("turn.permissions_per_session", t.PermissionsPerSession, 1, 10_000)
	v.number("turn.channels_per_session", t.ChannelsPerSession, 1, 10_000)
	v.number("turn.bandwidth", t.Bandwidth, 100, 1_000_000)
	v.number("turn.max_allocations", t.MaxAllocations, 1, 100_000)
	v.number("turn.max_permissions", t.MaxPermissions, 1, 1_000_000)
	v.number("turn.max_channels", t.MaxChannels, 1, 1_000_000)
	v.number("turn.max_bandwidth", t.MaxBandwidth, 100, 100_000_000)
}

// RelayPortRange returns the first and the last port of RelayPorts.
func (t TURN) RelayPortRange() (first, last uint16, err error) {
	from, to, found := strings.Cut(t.RelayPorts, "-")
	a, errFrom := strconv.ParseUint(from, 10, 16)
	b, errTo := strconv.ParseUint(to, 10, 16)
	if !found || errFrom != nil || errTo != nil || a < 1024 || b <= a {
		return 0, 0, fmt.Errorf("%q is not a range of ports", t.RelayPorts)
	}
	return uint16(a), uint16(b), nil
}

func (v *validator) relayPorts(t TURN, m Media) {
	const key = "turn.relay_ports"
	first, last, err := t.RelayPortRange()
	if err != nil {
		v.add(key, err.Error(), `write FIRST-LAST, like "49152-49999"; from 1024 to 65535 and at least two`)
		return
	}
	if t.Mode != TURNOpen {
		return
	}
	for other, port := range map[string]int{"media.udp_port": m.UDPPort, "turn.udp_port": t.UDPPort} {
		if port >= int(first) && port <= int(last) {
			v.add(key, fmt.Sprintf("%s has %s in it, %d", t.RelayPorts, other, port), "take a range without it")
		}
	}
}

// oneOfEachFamily checks a list of at most one IPv4 and one IPv6 address.
func (v *validator) oneOfEachFamily(key string, list []string) {
	var seen []string
	for _, text := range list {
		addr, err := netip.ParseAddr(text)
		switch {
		case err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() || addr.Is4In6():
			v.add(key, fmt.Sprintf("%q is not the IP address of a host", text), "write one address, without a port")
		case slices.Contains(seen, family(addr)):
			v.add(key, text+" is the second "+family(addr)+" address", "leave one of each family")
		default:
			seen = append(seen, family(addr))
		}
	}
}
