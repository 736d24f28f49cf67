package bot

import "testing"

func TestOnlyTheCandidatesOfOneProtocolAreLeft(t *testing.T) {
	const head, tail = "v=0\r\na=ice-lite\r\n", "a=end-of-candidates\r\n"
	const udp = "a=candidate:1 1 udp 2130706431 192.0.2.1 443 typ host\r\n"
	const tcp = "a=candidate:2 1 TCP 1671430143 192.0.2.1 443 typ host tcptype passive\r\n"
	for name, c := range map[string]struct{ sdp, protocol, want string }{
		"udp of both":         {head + udp + tcp + tail, "udp", head + udp + tail},
		"tcp in any case":     {head + udp + tcp + tail, "tcp", head + tcp + tail},
		"none of it":          {head + udp + tail, "tcp", head + tail},
		"malformed candidate": {head + "a=candidate:1\r\n" + tail, "udp", head + tail},
		"empty":               {"", "udp", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := onlyProtocol(c.sdp, c.protocol); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
