package contract

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/bot"
	"consilium/internal/media"
)

const (
	sdpType  = "Content-Type: application/sdp"
	fragType = "Content-Type: application/trickle-ice-sdpfrag"
)

// offer returns the offer of a Pion client with a microphone and a camera.
func offer(t *testing.T, direction webrtc.RTPTransceiverDirection) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: direction}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return o.SDP
}

func sending(t *testing.T) string { return offer(t, webrtc.RTPTransceiverDirectionSendonly) }

// attribute returns the value of the first attribute of a name in an SDP.
func attribute(sdp, name string) string {
	for line := range strings.Lines(sdp) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "a="+name+":"); ok {
			return value
		}
	}
	return ""
}

// fragment with a candidate, as a trickling client sends it.
func fragment(ufrag, pwd, candidate string) string {
	return fmt.Sprintf("a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:%s\r\n", ufrag, pwd, candidate)
}

func TestAWHIPSessionLivesByItsRequests(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	auth := bearer(joinToken(t, "room", "cam-1", "device"))
	o := sending(t)
	a := c.ask("POST", "/whip/room", auth, o, sdpType)
	if a.status != http.StatusCreated || a.header.Get("Content-Type") != "application/sdp" || !strings.HasPrefix(a.body, "v=0") {
		t.Fatalf("POST: %d %v %s", a.status, a.header, a.body)
	}
	location, tag := a.header.Get("Location"), a.header.Get("ETag")
	if !strings.HasPrefix(location, "/whip/room/") || strings.Contains(location, "cam-1") {
		t.Errorf("Location %q", location)
	}
	if !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) {
		t.Errorf("ETag %q is not a strong entity tag", tag)
	}
	if links := a.header.Values("Link"); len(links) == 0 || !strings.Contains(links[0], `rel="ice-server"`) ||
		!strings.Contains(links[0], `credential-type="password"`) || !strings.HasPrefix(links[0], "<turn:") {
		t.Errorf("Link %q", links)
	}
	if a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Location") {
		t.Errorf("no CORS headers: %v", a.header)
	}
	const candidate = "1 1 udp 2130706431 192.0.2.1 40000 typ host"
	frag := fragment(attribute(o, "ice-ufrag"), attribute(o, "ice-pwd"), candidate)
	c.ask("PATCH", location, auth, frag, fragType).wantProblem(t, "no If-Match", 428, "precondition_required")
	c.ask("PATCH", location, auth, frag, fragType, `If-Match: "other"`).wantProblem(t, "another generation", 412, "precondition_failed")
	c.ask("PATCH", location, auth, frag, sdpType, "If-Match: "+tag).wantProblem(t, "another type", 415, "unsupported_media")
	c.ask("PATCH", location, auth, "odd", fragType, "If-Match: "+tag).wantProblem(t, "no fragment", 400, "not_sdp")
	if got := c.ask("PATCH", location, auth, frag, fragType, "If-Match: "+tag); got.status != http.StatusNoContent || got.body != "" {
		t.Errorf("trickle: %d %s", got.status, got.body)
	}
	restart := c.ask("PATCH", location, auth, fragment("newufrag", "newpasswordnewpassword22", candidate), fragType, "If-Match: *")
	if restart.status != http.StatusOK || restart.header.Get("ETag") == tag || restart.header.Get("ETag") == "" ||
		attribute(restart.body, "ice-ufrag") == attribute(a.body, "ice-ufrag") {
		t.Errorf("ICE restart: %d %v %s", restart.status, restart.header, restart.body)
	}
	c.ask("PATCH", location, auth, frag, fragType, "If-Match: "+tag).wantProblem(t, "the old generation", 412, "precondition_failed")
	c.ask("GET", location, auth, "").wantProblem(t, "GET of a session", 405)

	other := bearer(joinToken(t, "room", "cam-2", "device"))
	c.ask("DELETE", location, other, "").wantProblem(t, "somebody else's session", 403, "forbidden")
	c.ask("DELETE", location, "", "").wantProblem(t, "no token", 401, "unauthorized")
	if got := c.ask("DELETE", location, auth, ""); got.status != http.StatusOK {
		t.Errorf("DELETE: %d %s", got.status, got.body)
	}
	c.ask("DELETE", location, auth, "").wantProblem(t, "a session that is over", 404, "not_found")
	c.ask("PATCH", location, auth, frag, fragType, "If-Match: *").wantProblem(t, "a session that is over", 404, "not_found")
	if left := c.waitEvent(5*time.Second, "participant.left", "room", "cam-1"); left.Data["reason"] != "left" {
		t.Errorf("he left as %v", left.Data)
	}
}

func TestWHIPAndWHEPAnswerBadRequests(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	auth := bearer(joinToken(t, "room", "anna", "patient"))
	for name, r := range map[string]struct {
		path, body, contentType string
		status                  int
	}{
		"no SDP":               {"/whip/room", "hello", sdpType, 400},
		"empty body":           {"/whip/room", "", sdpType, 400},
		"no m-line":            {"/whip/room", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", sdpType, 422},
		"JSON":                 {"/whip/room", "{}", "Content-Type: application/json", 415},
		"too large":            {"/whip/room", strings.Repeat("a", 70<<10), sdpType, 413},
		"WHIP that receives":   {"/whip/room", offer(t, webrtc.RTPTransceiverDirectionRecvonly), sdpType, 422},
		"unknown source":       {"/whep/room/x?source=nose", sending(t), sdpType, 400},
		"WHEP without SDP":     {"/whep/room/x", "hello", sdpType, 400},
		"cut within a line":    {"/whip/room", "v=0\r\no=- 1", sdpType, 400},
		"cut before its mids":  {"/whip/room", before(sending(t), "a=mid:"), sdpType, 422},
		"WHIP of another room": {"/whip/elsewhere", sending(t), sdpType, 403},
	} {
		c.ask("POST", r.path, auth, r.body, r.contentType).wantProblem(t, name, r.status)
	}
	c.ask("GET", "/whip/room", auth, "").wantProblem(t, "GET", 405, "method_not_allowed")
	for _, e := range c.events() {
		if e.Type == "participant.joined" {
			t.Errorf("a refused offer left %s of %s", e.Type, e.Participant)
		}
	}
	preflight := c.ask("OPTIONS", "/whip/room", "", "", "Origin: https://player.example.org",
		"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, content-type")
	allowed := strings.ToLower(preflight.header.Get("Access-Control-Allow-Headers"))
	if preflight.status/100 != 2 || !strings.Contains(preflight.header.Get("Access-Control-Allow-Methods"), "POST") ||
		!strings.Contains(allowed, "authorization") || !strings.Contains(allowed, "content-type") {
		t.Errorf("preflight: %d %v", preflight.status, preflight.header)
	}
	plain := c.ask("OPTIONS", "/whip/room", auth, "")
	if plain.header.Get("Accept-Post") != "application/sdp" || len(plain.header.Values("Link")) == 0 {
		t.Errorf("OPTIONS: %d %v", plain.status, plain.header)
	}
}

// before is the part of a text before a word.
func before(text, word string) string {
	text, _, _ = strings.Cut(text, word)
	return text
}

// device is the configuration of a device of cam-1.
func (c *child) device(identity string) bot.HTTPConfig {
	return bot.HTTPConfig{
		Room: "room", Target: "cam-1",
		Config: bot.Config{URL: c.URL, Token: joinToken(c.t, "room", identity, "patient")},
	}
}

func TestAPlayerThatComesFirstFillsWhenThePublisherComes(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	ctx := within(t, 40*time.Second)
	player, err := bot.WHEP(ctx, c.device("wall"))
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close()
	if err := player.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	publisher, err := bot.WHIP(ctx, c.device("cam-1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := player.Wait(ctx, "sound and picture", func(s *bot.Snapshot) bool {
		return len(s.Received) == 2 && s.Received[0].Frames > 20 && s.Received[1].Frames > 20
	}); err != nil {
		t.Error(err)
	}
	publisher.Close() // close_notify counts as DELETE
	if left := c.waitEvent(5*time.Second, "participant.left", "room", "cam-1"); left.Data["reason"] != "left" {
		t.Errorf("after close_notify the publisher left as %v, want left", left.Data)
	}
	for _, e := range c.events() {
		if e.Participant == "wall" && strings.HasPrefix(e.Type, "participant.") {
			t.Errorf("a player caused %s", e.Type)
		}
	}
}

func TestTenOfEachShareAnIdentity(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	ctx := within(t, 60*time.Second)
	page := c.join(joinToken(t, "room", "cam-1", "patient"), nil)
	if err := page.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	var sessions []*bot.HTTPSession
	defer func() {
		for _, s := range sessions {
			s.Close()
		}
	}()
	for i := range 10 {
		cfg := c.device("cam-1")
		cfg.Publish = []media.Source{media.Microphone}
		publisher, err := bot.WHIP(ctx, cfg)
		if err != nil {
			t.Fatalf("publisher %d: %v", i, err)
		}
		player, err := bot.WHEP(ctx, c.device("cam-1"))
		if err != nil {
			t.Fatalf("player %d: %v", i, err)
		}
		sessions = append(sessions, publisher, player)
	}
	for i, s := range sessions {
		if err := s.WaitConnected(ctx); err != nil {
			t.Errorf("session %d: %v", i, err)
		}
	}
	if page.Snapshot().Ended != nil {
		t.Error("the page of the identity was replaced")
	}
	joined := slices.DeleteFunc(c.events(), func(e event) bool { return e.Type != "participant.joined" })
	if len(joined) != 1 {
		t.Errorf("%d participant.joined, want 1", len(joined))
	}
	// Only a second page replaces the first.
	second := c.join(joinToken(t, "room", "cam-1", "patient"), nil)
	if err := page.Wait(ctx, "replacement", func(s *bot.Snapshot) bool {
		return s.Ended != nil && s.Ended.Reason == "replaced" && s.Ended.Code == "SESSION_REPLACED"
	}); err != nil {
		t.Error(err)
	}
	if err := second.WaitConnected(ctx); err != nil {
		t.Error(err)
	}
	for i, s := range sessions {
		if state := s.Snapshot().Connection; state != webrtc.PeerConnectionStateConnected {
			t.Errorf("session %d is %s after a second page came", i, state)
		}
	}
}
