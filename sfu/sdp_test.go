package sfu

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"consilium/internal/media"
)

// offerText joins lines as SDP wants them.
func offerText(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

var session = []string{
	"v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
	"a=ice-ufrag:abcd", "a=ice-pwd:0123456789abcdef01234567", "a=setup:actpass",
	"a=fingerprint:sha-256 " + strings.Repeat("AA:", 31) + "AA",
}

func twoLines(audio, video []string) string {
	l := slices.Clone(session)
	l = append(l, "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=rtpmap:111 opus/48000/2", "a=rtcp-mux")
	l = append(l, audio...)
	l = append(l, "m=video 9 UDP/TLS/RTP/SAVPF 96 97", "c=IN IP4 0.0.0.0", "a=mid:1", "a=rtpmap:96 VP8/90000",
		"a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=rtcp-mux")
	return offerText(append(l, video...)...)
}

func TestOfferIsReadAndItsCandidatesAreTakenOut(t *testing.T) {
	o, err := parseOffer(twoLines(
		[]string{"a=sendonly", "a=ssrc:11 cname:x", "a=candidate:1 1 udp 2122260223 4d2d.local 9 typ host"},
		[]string{"a=sendonly", "a=ssrc-group:FID 21 22", "a=ssrc:21 cname:x", "a=ssrc:22 cname:x"}))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(o.sdp, "candidate") {
		t.Errorf("a candidate is left in\n%s", o.sdp)
	}
	if len(o.candidates) != 1 || !strings.Contains(o.candidates[0], "4d2d.local") {
		t.Errorf("candidates = %q", o.candidates)
	}
	want := []offerLine{
		{mid: "0", kind: media.Audio, sends: true, ssrc: 11, codecs: []string{"opus"}},
		{mid: "1", kind: media.Video, sends: true, ssrc: 21, rtx: 22, codecs: []string{"vp8", "rtx"}},
	}
	for i, l := range o.lines {
		w := want[i]
		if l.mid != w.mid || l.kind != w.kind || l.sends != w.sends || l.receives != w.receives ||
			l.ssrc != w.ssrc || l.rtx != w.rtx || !slices.Equal(l.codecs, w.codecs) {
			t.Errorf("line %d = %+v, want %+v", i, l, w)
		}
	}
}

func TestOffersThatWouldBeMisunderstoodAreRefused(t *testing.T) {
	good := twoLines([]string{"a=sendonly"}, []string{"a=sendonly"})
	cases := map[string]struct {
		sdp  string
		want error
	}{
		"empty":            {"", ErrNotSDP},
		"prose":            {"hello", ErrNotSDP},
		"no m-line":        {offerText(session...), ErrBadOffer},
		"no mid":           {strings.Replace(good, "a=mid:0\r\n", "", 1), ErrBadOffer},
		"same mid twice":   {strings.Replace(good, "a=mid:1", "a=mid:0", 1), ErrBadOffer},
		"inactive":         {strings.Replace(good, "a=sendonly", "a=inactive", 1), ErrBadOffer},
		"not bundled":      {strings.Replace(good, "a=group:BUNDLE 0 1\r\n", "", 1), ErrBadOffer},
		"unknown media":    {strings.Replace(good, "m=audio", "m=text", 1), ErrBadOffer},
		"too large":        {good + strings.Repeat("a=x:"+strings.Repeat("y", 1000)+"\r\n", 300), ErrBadOffer},
		"half a mid":       {strings.Replace(good, "a=mid:0", "a=mid:", 1), ErrBadOffer},
		"very long mid":    {strings.Replace(good, "a=mid:0", "a=mid:"+strings.Repeat("m", 40), 1), ErrBadOffer},
		"thousand m-lines": {good + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:7\r\n", 200), ErrBadOffer},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := parseOffer(c.sdp); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestAnswerTellsWhatWasAgreedForEachSendingLine(t *testing.T) {
	offer, err := parseOffer(twoLines([]string{"a=sendonly", "a=ssrc:11 cname:x"}, []string{"a=sendonly"}))
	if err != nil {
		t.Fatal(err)
	}
	answer := twoLines([]string{"a=recvonly", "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid", "a=fmtp:111 minptime=10"},
		[]string{"a=recvonly", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli",
			"a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"})
	up, err := upLines(answer, offer.lines)
	if err != nil {
		t.Fatal(err)
	}
	audio, video := up["0"], up["1"]
	if audio.SSRC != 11 || audio.MIDExt != 4 || audio.NACK || audio.Codecs[111].Name != "opus" || audio.Codecs[111].Channels != 2 {
		t.Errorf("audio = %+v", audio)
	}
	if !video.NACK || video.TWCCExt != 3 || video.Codecs[96].Name != "vp8" || video.Codecs[97].APT != 96 {
		t.Errorf("video = %+v", video)
	}
	hinted := withBitrates(answer, up, MediaConfig{StartBitrate: 600, MaxBitrate: 2500})
	if !strings.Contains(hinted, "a=fmtp:96 x-google-start-bitrate=600") || strings.Contains(hinted, "a=fmtp:97 x-google") {
		t.Errorf("start bitrate is not where it belongs\n%s", hinted)
	}
	for _, line := range []string{"b=AS:2500\r\n", "b=TIAS:2500000\r\n"} {
		if at := strings.Index(hinted, line); strings.Count(hinted, line) != 1 || at < strings.Index(hinted, "m=video") {
			t.Errorf("%q is not in the video m-line alone\n%s", line, hinted)
		}
	}
}

func TestLocalNamesAreNotedWithTheReason(t *testing.T) {
	d := describeCandidate("candidate:1 1 udp 2122260223 4d2d7f9e-0000.local 54321 typ host", "0")
	if d["address"] != "4d2d7f9e-0000.local" || !strings.Contains(d["reason"].(string), ".local") {
		t.Errorf("got %v", d)
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add(twoLines([]string{"a=sendonly"}, []string{"a=recvonly"}))
	f.Add("v=0\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOffer(text)
		if err != nil {
			return
		}
		if strings.Contains(o.sdp, "a=candidate:") {
			t.Error("a candidate is left in")
		}
		if _, err := upLines(o.sdp, o.lines); err != nil {
			t.Errorf("an accepted offer can't be read as an answer: %v", err)
		}
	})
}

// What is kept of an SDP must not keep all of it: a track's mid and codec are
// in events long after its session.
func TestWhatIsReadOfAnSDPKeepsNoneOfItsText(t *testing.T) {
	const descriptions, padding = 200, 16 << 10
	type kept struct {
		offer parsedOffer
		up    map[string]upLine
	}
	var all []kept
	before := liveHeap()
	for range descriptions {
		sends := []string{"a=sendonly", "a=candidate:1 1 udp 2122260223 192.0.2.1 9 typ host", "a=fmtp:111 useinbandfec=1"}
		text := twoLines(append(sends, "a=x-padding:"+strings.Repeat("x", padding)), []string{"a=sendonly"})
		text = strings.ReplaceAll(text, strings.Repeat("AA:", 31)+"AA", strings.Repeat("aa:", 31)+"aa")
		o, err := parseOffer(text)
		if err != nil {
			t.Fatal(err)
		}
		up, err := upLines(o.sdp, o.lines)
		if err != nil {
			t.Fatal(err)
		}
		o.sdp = "" // it is kept by who negotiates, as long as that lasts
		all = append(all, kept{offer: o, up: up})
	}
	each := int(liveHeap()-before) / descriptions
	t.Logf("%d bytes are kept of each", each)
	if each > padding/4 {
		t.Errorf("%d bytes are kept of each, of %d", each, padding)
	}
	if first := all[0]; len(first.up) != 2 || first.up["0"].Codecs[111].Name != "opus" || first.offer.fingerprint == "" {
		t.Errorf("read %+v", first)
	}
}

// liveHeap is what is reachable, in bytes.
func liveHeap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
