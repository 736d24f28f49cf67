package contract

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestBadInputDisturbsNobody gives a server everything that is wrong at once
// and looks after each at a call that goes on in the same server.
func TestBadInputDisturbsNobody(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	healthy := c.pair("healthy")
	for name, attack := range attacks() {
		attack(t, c)
		healthy.wantMedia()
		if t.Failed() {
			t.Fatalf("after %q", name)
		}
	}
	for _, e := range c.events() {
		if e.Room == "healthy" && (e.Code != "" || e.Type == "media.stalled" || e.Type == "participant.left") {
			t.Errorf("in the healthy call: %s %s %v", e.Type, e.Code, e.Data)
		}
	}
	healthy.leave()
}

func attacks() map[string]func(*testing.T, *child) {
	return map[string]func(*testing.T, *child){
		"a first message of 1 MiB":        firstMessageOfAMiB,
		"a message of 1 MiB":              messageOfAMiB,
		"garbage as first message":        garbageFirst,
		"messages that are wrong":         wrongMessages,
		"bad offers":                      badOffers,
		"a participant of another room":   foreignRoom,
		"handshakes that are wrong":       wrongHandshakes,
		"a body of 1 MiB":                 bodyOfAMiB,
		"garbage on the TCP and UDP port": garbageOnPorts,
	}
}

func firstMessageOfAMiB(t *testing.T, c *child) {
	s := c.socket()
	s.raw(`{"type":"hello","body":{"token":"` + strings.Repeat("x", 1<<20) + `"}}`)
	if got := s.read(); got.Type != "closed" && (got.code() != "too_large" || !got.fatal()) {
		t.Errorf("got %s %s", got.Type, got.Body)
	}
}

func messageOfAMiB(t *testing.T, c *child) {
	s := c.socket()
	s.hello(joinToken(t, "attack", "big", "patient"))
	s.send("log", "", map[string]any{"entries": []any{map[string]any{
		"time": 1, "stage": "page", "text": strings.Repeat("x", 1<<20),
	}}})
	if got := s.until("error"); got.Type != "error" || got.code() != "too_large" || got.fatal() {
		t.Errorf("got %s %s, want too_large: the session lives", got.Type, got.Body)
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := s.conn.ReadMessage(); !websocket.IsCloseError(err, 1009) {
		t.Errorf("the socket ended with %v, want close code 1009", err)
	}
}

func garbageFirst(t *testing.T, c *child) {
	for text, code := range map[string]string{
		"":                         "bad_json",
		"hello":                    "bad_json",
		"[]":                       "bad_json",
		"{}":                       "unknown_type",
		"\xff\xfe":                 "bad_json",
		`{"type":"conquer"}`:       "unknown_type",
		`{"type":"leave","seq":1}`: "unexpected",
		`{"type":"resume","body":{"session":"s","secret":"x"}}`:  "session_unknown",
		`{"type":"hello","body":{"token":"x","odd":1}}`:          "bad_json",
		`{"type":"hello","body":{"token":1}}`:                    "bad_json",
		`{"type":"hello","body":{"token":"x"}}{"type":"hello"}`:  "bad_json",
		`{"type":"hello","body":` + strings.Repeat("[", 20_000):  "bad_json",
		`{"type":"hello","body":{"token":"","rejoin":"forged"}}`: "TOKEN_BAD",
	} {
		s := c.socket()
		s.raw(text)
		if got := s.read(); got.code() != code || !got.fatal() {
			t.Errorf("%.60q: got %s %s, want a fatal %s", text, got.Type, got.Body, code)
		}
		s.close()
	}
	s := c.socket()
	if err := s.conn.WriteMessage(websocket.BinaryMessage, []byte{0, 1, 2}); err != nil {
		t.Error(err)
	}
	if got := s.read(); got.Type != "closed" && !got.fatal() {
		t.Errorf("binary: got %s %s", got.Type, got.Body)
	}
}

func wrongMessages(t *testing.T, c *child) {
	s := c.socket()
	s.hello(joinToken(t, "attack", "odd", "patient"))
	for i, m := range []struct {
		kind string
		body any
		code string
	}{
		{"conquer", map[string]any{}, "unknown_type"},
		{"hello", map[string]any{"token": "x"}, "unexpected"},
		{"publish", map[string]any{"mid": "99", "source": "mic", "active": true, "muted": false}, "conflict"},
		{"publish", map[string]any{"mid": "0", "source": "nose"}, "bad_json"},
		{"admit", map[string]any{"participant": "doctor"}, "forbidden"},
		{"remove", map[string]any{"participant": "doctor"}, "forbidden"},
		{"mute", map[string]any{"participant": "doctor", "source": "mic"}, "forbidden"},
		{"end", map[string]any{}, "forbidden"},
		{"view", map[string]any{"tracks": []any{map[string]any{"track": "x", "width": -1, "height": 1}}}, "bad_json"},
		{"offer", map[string]any{"sdp": "hello", "tracks": []any{}, "seats": []any{}}, "not_sdp"},
	} {
		id := string(rune('a' + i))
		s.send(m.kind, id, m.body)
		if got := s.reply(id); got.code() != m.code || got.fatal() {
			t.Errorf("%s %v: got %s %s, want %s", m.kind, m.body, got.Type, got.Body, m.code)
		}
	}
	s.seq += 3 // leaves some out
	s.send("turn", "gap", map[string]any{})
	if got := s.until("error"); got.code() != "sequence" {
		t.Errorf("a gap in the numbers: got %s %s", got.Type, got.Body)
	}
	s.seq -= 4
	s.send("turn", "right", map[string]any{})
	if got := s.reply("right"); got.Type != "turn" {
		t.Errorf("after all that the session answers %s %s", got.Type, got.Body)
	}
}

func badOffers(t *testing.T, c *child) {
	s := c.socket()
	s.hello(joinToken(t, "attack", "offerer", "patient"))
	good := sending(t)
	for id, sdp := range map[string]string{
		"cut":           good[:len(good)/2],
		"no mids":       strings.ReplaceAll(good, "a=mid:", "a=dim:"),
		"no ufrag":      strings.ReplaceAll(good, "a=ice-ufrag:", "a=odd:"),
		"no bundle":     strings.ReplaceAll(good, "a=group:BUNDLE", "a=group:LS"),
		"inactive":      strings.ReplaceAll(good, "a=sendonly", "a=inactive"),
		"both ways":     strings.ReplaceAll(good, "a=sendonly", "a=sendrecv"),
		"odd codecs":    strings.NewReplacer("VP8", "VPX", "VP9", "VPX", "AV1", "VPX", "H264", "VPX", "H265", "VPX").Replace(good),
		"odd media":     strings.ReplaceAll(good, "m=video", "m=smell"),
		"bad extension": strings.ReplaceAll(good, "a=extmap:1 ", "a=extmap:999 "),
		"line noise":    good + strings.Repeat("a=\x00\x01\x02\r\n", 100),
	} {
		s.send("offer", id, map[string]any{"sdp": sdp, "tracks": []any{}, "seats": []any{}})
		got := s.reply(id)
		if got.Type == "closed" || got.fatal() {
			t.Fatalf("%s: got %s %s: the session must live", id, got.Type, got.Body)
		}
		if got.Type == "error" && got.code() != "unusable" && got.code() != "not_sdp" {
			t.Errorf("%s: got %s %s, want unusable or not_sdp", id, got.Type, got.Body)
		}
	}
	s.send("leave", "", map[string]any{})
	if got := s.until("ended"); got.Type != "ended" {
		t.Errorf("leave was answered by %s", got.Type)
	}
}

// foreignRoom asks for the tracks and people of the healthy call from another
// room, as somebody who may do everything there.
func foreignRoom(t *testing.T, c *child) {
	var calls struct{ Calls []struct{ ID, Room string } }
	c.get("/v1/calls?state=live&room=healthy", &calls)
	var who struct{ Tracks []struct{ ID string } }
	c.get("/v1/calls/"+calls.Calls[0].ID+"/participants/patient", &who)
	s := c.socket()
	s.hello(joinToken(t, "attack", "spy", "doctor"))
	s.send("offer", "o", map[string]any{
		"sdp":    strings.ReplaceAll(sending(t), "a=sendonly", "a=recvonly"),
		"tracks": []any{}, "seats": []any{map[string]any{"audio": "0", "video": "1"}},
	})
	if got := s.reply("o"); got.Type != "answer" {
		t.Errorf("offer: %s %s", got.Type, got.Body)
	}
	s.send("view", "v", map[string]any{"tracks": []any{map[string]any{"track": who.Tracks[0].ID, "width": 1280, "height": 720}}})
	if got := s.reply("v"); got.Type == "error" && got.code() != "not_found" {
		t.Errorf("view: %s %s", got.Type, got.Body)
	}
	for _, m := range []string{"mute", "remove", "admit"} {
		body := map[string]any{"participant": "patient"}
		if m == "mute" {
			body["source"] = "mic"
		}
		s.send(m, m, body)
		if got := s.reply(m); got.code() != "not_found" {
			t.Errorf("%s across rooms: %s %s, want not_found", m, got.Type, got.Body)
		}
	}
	s.send("turn", "last", map[string]any{})
	for {
		m := s.read()
		if strings.Contains(string(m.Body), who.Tracks[0].ID) {
			t.Errorf("%s tells of a track of another room: %s", m.Type, m.Body)
		}
		var seats struct {
			Seats []struct{ Participant string }
		}
		if m.Type == "seats" && json.Unmarshal(m.Body, &seats) == nil {
			for _, seat := range seats.Seats {
				if seat.Participant != "" && seat.Participant != "big" && seat.Participant != "odd" && seat.Participant != "offerer" {
					t.Errorf("a seat has %q", seat.Participant)
				}
			}
		}
		if m.Re == "last" || m.Type == "closed" {
			break
		}
	}
}

func wrongHandshakes(t *testing.T, c *child) {
	c.handshake(nil, nil).wantProblem(t, "no subprotocol", 400)
	c.handshake([]string{"odd.v1"}, nil).wantProblem(t, "another subprotocol", 400)
	c.handshake([]string{"consilium.v1"}, http.Header{"Origin": {"https://evil.example.org"}}).
		wantProblem(t, "another origin", 403, "forbidden")
	c.ask("GET", "/ws", "", "").wantProblem(t, "no upgrade", 400)
}

func bodyOfAMiB(t *testing.T, c *child) {
	big := strings.Repeat("v", 1<<20)
	c.ask("POST", "/v1/calls", apiKey(), big).wantProblem(t, "POST /v1/calls of 1 MiB", 413, "too_large")
	c.ask("POST", "/whip/attack", bearer(joinToken(t, "attack", "big", "patient")), big, sdpType).
		wantProblem(t, "POST /whip of 1 MiB", 413, "too_large")
}

func garbageOnPorts(t *testing.T, c *child) {
	for _, text := range []string{"\x00", "\x16\x03\x01\x00", strings.Repeat("\xff", 4000), "GET / HTTP/9\r\n\r\n", "\x00\x01\x00\x00\x21\x12\xa4\x42"} {
		for _, network := range []string{"tcp", "udp"} {
			conn, err := net.Dial(network, strings.TrimPrefix(c.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write([]byte(text))
			_ = conn.Close()
		}
	}
	for port := range mediaPorts(t, c) {
		conn, err := net.Dial("udp", port)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"", "\x00", "\x80\x60", strings.Repeat("\x80", 1400), strings.Repeat("\x14\xfe\xfd", 200), "\x00\x01\x00\x08\x21\x12\xa4\x42aaaaaaaaaaaa\x00\x06\x00\x04abcd"} {
			_, _ = conn.Write([]byte(text))
		}
		_ = conn.Close()
	}
}

// mediaPorts are the UDP addresses of an answer.
func mediaPorts(t *testing.T, c *child) map[string]bool {
	t.Helper()
	a := c.ask("POST", "/whip/attack", bearer(joinToken(t, "attack", "port", "device")), sending(t), sdpType)
	ports := map[string]bool{}
	for line := range strings.Lines(a.body) {
		if f := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") && len(f) > 5 && f[2] == "udp" {
			ports[net.JoinHostPort(f[4], f[5])] = true
		}
	}
	if len(ports) == 0 {
		t.Fatalf("no UDP candidate: %d %s", a.status, a.body)
	}
	return ports
}
