package contract

import (
	"strings"
	"testing"
)

// What would need a decoder, or rotate a picture that is rotated already when
// it is recorded, is not agreed on, however it is offered.
func TestAnswersHaveNoOrientationNorRedundancy(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	const orientation = "urn:3gpp:video-orientation"
	sdp := sending(t)
	sound, video, _ := strings.Cut(sdp, "m=video")
	sound = strings.Replace(sound, "RTP/SAVPF ", "RTP/SAVPF 63 ", 1) +
		"a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"
	video = strings.Replace(video, "RTP/SAVPF ", "RTP/SAVPF 114 115 116 ", 1) +
		"a=extmap:13 " + orientation + "\r\na=rtpmap:114 red/90000\r\na=rtpmap:115 ulpfec/90000\r\na=rtpmap:116 flexfec-03/90000\r\n"
	a := c.ask("POST", "/whip/room", bearer(joinToken(t, "room", "cam-1", "patient")), sound+"m=video"+video, sdpType)
	if a.status != 201 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	for _, refused := range []string{orientation, "red/", "ulpfec", "flexfec"} {
		if strings.Contains(a.body, refused) {
			t.Errorf("the answer has %s:\n%s", refused, a.body)
		}
	}
	if !strings.Contains(a.body, "VP8/90000") || !strings.Contains(a.body, "opus/48000/2") {
		t.Errorf("the answer has no VP8 or no Opus:\n%s", a.body)
	}
}
