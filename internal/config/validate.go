package config

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate checks that the configuration can be used as a whole. The error is
// [Problems]; each names its key and the remedy. It opens no file.
func (c Config) Validate() error {
	v := &validator{}
	if c.Data == "" {
		v.add("data", "is empty", "name a directory that the service may write to")
	}
	v.http(c.HTTP)
	v.tls(c.TLS, c.HTTP)
	v.word("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.word("log.format", c.Log.Format, "text", "json")
	v.keys(c.Keys)
	v.media(c.Media)
	v.turn(c.TURN, c.Media)
	v.signaling(c.Signaling, c.Calls)
	v.calls(c.Calls)
	v.duration("recording.keep", c.Recording.Keep, 0, 36500*day)
	v.word("recording.on_failure", c.Recording.OnFailure, OnFailureWarn, OnFailureStop)
	v.sealing(c.Recording)
	v.s3(c.Recording.S3)
	v.webhook(c.Webhook)
	v.duration("journal.keep", c.Journal.Keep, day, 3650*day)
	v.metrics(c.Metrics, c.HTTP)
	v.number("limits.joins_per_second", c.Limits.JoinsPerSecond, 1, 10_000)
	return v.problems.orNil()
}

// validator collects problems. Each method looks at one section.
type validator struct{ problems Problems }

func (v *validator) add(key, what, remedy string) {
	v.problems = append(v.problems, Problem{Key: key, What: what, Remedy: remedy})
}

// word checks that a value is one of a few words.
func (v *validator) word(key, got string, want ...string) {
	if !slices.Contains(want, got) {
		v.add(key, fmt.Sprintf("%q is not a value it takes", got), "take one of: "+strings.Join(want, ", "))
	}
}

// words checks a list of distinct words out of a few.
func (v *validator) words(key string, got []string, want ...string) {
	if len(got) == 0 {
		v.add(key, "is empty", "take at least one of: "+strings.Join(want, ", "))
	}
	for i, word := range got {
		v.word(key, word, want...)
		if slices.Contains(got[:i], word) {
			v.add(key, fmt.Sprintf("%q stands there twice", word), "remove one")
		}
	}
}

func (v *validator) number(key string, got, least, most int) {
	if got < least || got > most {
		v.add(key, fmt.Sprintf("%d is out of range", got), fmt.Sprintf("take %d to %d", least, most))
	}
}

func (v *validator) duration(key string, got, least, most time.Duration) {
	if got < least || got > most {
		v.add(key, FormatDuration(got)+" is out of range",
			fmt.Sprintf("take %s to %s", FormatDuration(least), FormatDuration(most)))
	}
}

// hostPort checks an address to listen on.
func (v *validator) hostPort(key, address string) {
	host, port, err := net.SplitHostPort(address)
	n, errPort := strconv.ParseUint(port, 10, 16)
	_, errHost := netip.ParseAddr(host)
	if err != nil || errPort != nil || errHost != nil && host != "" && host != "localhost" {
		v.add(key, fmt.Sprintf("%q is not an address to listen on", address),
			`write "IP:PORT", "[IPv6]:PORT", or ":PORT" for every address of the machine`)
		return
	}
	if port != strconv.FormatUint(n, 10) {
		v.add(key, fmt.Sprintf("port of %q is not a plain number", address), "write it without leading zeros")
	}
}

func (v *validator) http(h HTTP) {
	if len(h.Address) == 0 {
		v.add("http.address", "is empty", `name at least one address, like ":443"`)
	}
	for i, address := range h.Address {
		v.hostPort("http.address", address)
		if slices.Contains(h.Address[:i], address) {
			v.add("http.address", fmt.Sprintf("%q stands there twice", address), "remove one")
		}
	}
	if h.PublicURL != "" {
		v.url("http.public_url", h.PublicURL, false)
	}
	v.networks("http.trusted_proxies", h.TrustedProxies)
}

func (v *validator) media(m Media) {
	v.number("media.udp_port", m.UDPPort, 0, 65535)
	v.number("media.tcp_port", m.TCPPort, 0, 65535)
	v.patterns("media.interfaces.include", m.Interfaces.Include)
	v.patterns("media.interfaces.exclude", m.Interfaces.Exclude)
	v.networks("media.networks.include", m.Networks.Include)
	v.networks("media.networks.exclude", m.Networks.Exclude)
	v.words("media.families", m.Families, "ipv4", "ipv6")
	v.publicAddresses(m)
	v.word("media.ice", m.ICE, ICEAuto, ICELite, ICEFull)
	v.words("media.codecs.video", m.Codecs.Video, "vp8", "vp9", "av1", "h264")
	v.number("media.start_bitrate", m.StartBitrate, 100, 20_000)
	v.number("media.max_bitrate", m.MaxBitrate, 100, 50_000)
	if m.StartBitrate > m.MaxBitrate {
		v.add("media.start_bitrate", fmt.Sprintf("%d is more than media.max_bitrate, %d", m.StartBitrate, m.MaxBitrate), "lower it or raise the other")
	}
	v.duration("media.timeout", m.Timeout, time.Second, time.Minute)
	v.duration("media.stall_after", m.StallAfter, time.Second, time.Minute)
	v.number("media.tunnel.max_sessions", m.Tunnel.MaxSessions, 1, 1000)
	v.number("media.tunnel.bitrate", m.Tunnel.Bitrate, 100, 20_000)
}

func (v *validator) patterns(key string, patterns []string) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			v.add(key, fmt.Sprintf("%q is not a pattern for interface names", p), `write names like "eth0", "eth*" or "en[op]*"`)
		}
	}
}

func (v *validator) networks(key string, networks []string) {
	for _, n := range networks {
		prefix, err := netip.ParsePrefix(n)
		switch {
		case err != nil:
			v.add(key, fmt.Sprintf("%q is not a network", n), `write it like "10.1.0.0/16" or "2001:db8::/32"; one address ends in /32 or /128`)
		case prefix != prefix.Masked():
			v.add(key, fmt.Sprintf("%q is an address in a network", n), "write the network: "+prefix.Masked().String())
		}
	}
}

func (v *validator) publicAddresses(m Media) {
	const key = "media.public_addresses"
	if len(m.PublicAddresses) == 0 && !m.OwnAddresses {
		v.add("media.own_addresses", "is false and "+key+" is empty: the machine's own addresses are all there is to advertise",
			"list the addresses that the outside sees there, or set it to true")
	}
	for i, text := range m.PublicAddresses {
		addr, err := netip.ParseAddr(text)
		switch {
		case err != nil || addr.Zone() != "":
			v.add(key, fmt.Sprintf("%q is not an IP address", text), "write the address that the outside sees, without a port")
		case addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast():
			v.add(key, text+" can't be reached from outside", "write the address that the outside sees")
		case !slices.Contains(m.Families, family(addr)):
			v.add(key, fmt.Sprintf("%s is of a family that media.families leaves out", text), "add "+family(addr)+" there or remove the address")
		case slices.ContainsFunc(m.PublicAddresses[:i], func(t string) bool { return sameAddress(t, addr) }):
			v.add(key, text+" stands there twice", "remove one")
		}
	}
}

func sameAddress(text string, addr netip.Addr) bool {
	other, err := netip.ParseAddr(text)
	return err == nil && other.Unmap() == addr.Unmap()
}

func family(addr netip.Addr) string {
	if addr.Unmap().Is4() {
		return "ipv4"
	}
	return "ipv6"
}

func (v *validator) signaling(s Signaling, c Calls) {
	v.duration("signaling.resume_window", s.ResumeWindow, 0, 10*time.Minute)
	if s.ResumeWindow > c.LingerLost {
		v.add("signaling.resume_window", fmt.Sprintf("%s is longer than calls.linger_lost, %s", FormatDuration(s.ResumeWindow), FormatDuration(c.LingerLost)),
			"shorten it: a session can't be resumed in a call that has ended")
	}
	v.number("signaling.message_bytes", s.MessageBytes, 16<<10, 4<<20)
	v.number("signaling.messages_per_second", s.MessagesPerSecond, 5, 1000)
}

func (v *validator) calls(c Calls) {
	v.word("calls.waiting_room", c.WaitingRoom, WaitingRoomOff, WaitingRoomPatients)
	v.duration("calls.linger_clean", c.LingerClean, 0, 10*time.Minute)
	v.duration("calls.linger_lost", c.LingerLost, 0, 10*time.Minute)
	v.duration("calls.unattended", c.Unattended, time.Second, 7*day)
	v.duration("calls.absent_after", c.AbsentAfter, 0, day)
	v.number("calls.max_participants", c.MaxParticipants, 2, 200)
	v.number("calls.max_calls", c.MaxCalls, 1, 100_000)
}

func (v *validator) webhook(w Webhook) {
	if w.URL != "" {
		v.url("webhook.url", w.URL, true)
		v.webhookSecret(w.Secret)
	}
	v.duration("webhook.timeout", w.Timeout, time.Second, time.Minute)
	v.duration("webhook.retry_for", w.RetryFor, 0, 7*day)
}

func (v *validator) metrics(m Metrics, h HTTP) {
	if m.Address == "" {
		return
	}
	v.hostPort("metrics.address", m.Address)
	if slices.Contains(h.Address, m.Address) {
		v.add("metrics.address", fmt.Sprintf("%q is in http.address too", m.Address), "take another port, or leave it empty")
	}
}

// devKeyProblems refuses the published key of --dev.
func (c Config) devKeyProblems() Problems {
	var problems Problems
	walk(reflect.ValueOf(c), "", func(path string, v reflect.Value) {
		if v.Type() == typeSecret && v.String() == string(DevSecret) {
			problems = append(problems, Problem{Key: path, What: "is the secret of --dev, which everybody knows", Remedy: secretRemedy})
		}
	})
	return problems
}
