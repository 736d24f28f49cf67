package sfu

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pion/ice/v4"
)

// nattedAnswer is an answer of a server with one IPv4 and one IPv6 address.
const nattedAnswer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" +
	"a=candidate:11 1 udp 2130706431 10.0.0.5 443 typ host ufrag x\r\n" +
	"a=candidate:12 1 udp 2130706175 2001:db8::5 443 typ host ufrag x\r\n" +
	"a=candidate:13 1 tcp 1671430143 10.0.0.5 443 typ host tcptype passive ufrag x\r\n" +
	"a=end-of-candidates\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n" +
	"a=candidate:11 1 udp 2130706431 10.0.0.5 443 typ host ufrag x\r\n" +
	"a=candidate:14 1 udp 2130706175 name.example 443 typ host\r\na=candidate:short\r\na=candidate:11 2 udp 2130706431 10.0.0.5 443 typ host ufrag x\r\n"

func natted(hide bool) *Network {
	return &Network{HideLocal: hide, Public: []PublicAddress{
		{Local: netip.MustParseAddr("10.0.0.5"), Public: netip.MustParseAddr("203.0.113.5")},
		{Local: netip.MustParseAddr("2001:db8::5"), Public: netip.MustParseAddr("2001:db8::5")},
	}}
}

func TestPublicAddressesAreAdvertisedBesideTheirLocalOnes(t *testing.T) {
	got := answerCandidates(natted(false).advertise(nattedAnswer))
	want := []string{
		"11 1 udp 2130706431 10.0.0.5 443 typ host ufrag x",
		"11p 1 udp 2130705919 203.0.113.5 443 typ host ufrag x",
		"12 1 udp 2130706175 2001:db8::5 443 typ host ufrag x",
		"13 1 tcp 1671430143 10.0.0.5 443 typ host tcptype passive ufrag x",
		"13p 1 tcp 1671429887 203.0.113.5 443 typ host tcptype passive ufrag x",
		"14 1 udp 2130706175 name.example 443 typ host",
		"short",
	}
	// In the second m-line 2130706175 belongs to a name: skipped likewise.
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLocalAddressesCanBeHidden(t *testing.T) {
	answer := natted(true).advertise(nattedAnswer)
	if strings.Contains(answer, "10.0.0.5") || strings.Count(answer, "203.0.113.5") != 3 || !strings.Contains(answer, "2001:db8::5") {
		t.Errorf("answer\n%s", answer)
	}
	if !strings.Contains(answer, "a=candidate:11 1 udp 2130706431 203.0.113.5 443 typ host ufrag x\r\n") {
		t.Errorf("not a candidate in place of the local one:\n%s", answer)
	}
}

func TestAnswersWithoutPublicAddressesLoseNothingButComponent2(t *testing.T) {
	want := strings.TrimSuffix(nattedAnswer, "a=candidate:11 2 udp 2130706431 10.0.0.5 443 typ host ufrag x\r\n")
	if got := (&Network{}).advertise(nattedAnswer); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestAServerBehindNATOffersEachAddressOnce looks at whole answers.
func TestAServerBehindNATOffersEachAddressOnce(t *testing.T) {
	public := netip.MustParseAddr("203.0.113.5")
	for name, lite := range map[string]bool{"full": false, "lite": true} {
		t.Run(name, func(t *testing.T) {
			cfg := withMedia(t, Config{})
			local := cfg.Network.UDP.GetListenAddresses()[0]
			cfg.Network.Public = []PublicAddress{{Local: netip.MustParseAddrPort(local.String()).Addr(), Public: public}}
			cfg.Network.Lite = lite
			h := open(t, cfg)
			v := h.join(asPatient("p"))
			v.prepare(1, sound)
			answer, err := v.Offer(t.Context(), v.offer())
			must(t, err)
			if got := strings.Contains(answer.SDP, "a=ice-lite\r\n"); got != lite {
				t.Errorf("ice-lite in the answer: %v", got)
			}
			addresses, priorities := map[string]int{}, map[uint32]int{}
			for _, text := range answer.Candidates {
				c, err := ice.UnmarshalCandidate(text)
				must(t, err)
				addresses[c.Address()]++
				priorities[c.Priority()]++
			}
			if len(answer.Candidates) != 2 || addresses[public.String()] != 1 || len(priorities) != 2 {
				t.Errorf("candidates\n%s", strings.Join(answer.Candidates, "\n"))
			}
		})
	}
}
