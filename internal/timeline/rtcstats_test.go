package timeline

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"consilium/internal/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

// dump writes anna's dump.
func dump(t testing.TB, events []event.Event) string {
	t.Helper()
	var out bytes.Buffer
	if err := (Dump{Call: "c1", Participant: "anna", Entries: Build(events).Of("anna")}).Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// failing adds to a visit what a call that fails has.
func failing() []event.Event {
	failed := seen(11300, event.ParticipantFailed, map[string]any{"incident": "K7M4-QX"})
	failed.Failure = event.Failure{Code: event.NoRoute, Stage: event.StageICE, Direction: event.Out,
		Evidence: map[string]any{"ice": "checking", "candidates_offered": 2}}
	again := rtc(12000, "onsignalingstatechange", "PC_0", "have-local-offer")
	again.Session = "s2"
	return append(visit(),
		rtc(2000, "getStats", "PC_0", map[string]any{"T1": map[string]any{"type": "transport", "bytesSent": 1234.0, "timestamp": 1.0}}, "connected-0"),
		rtc(2001, "onicecandidate", "PC_0", map[string]any{
			"candidate": "candidate:1 1 udp 2122260223 203.0.113.77 50000 typ srflx raddr 192.168.1.5 rport 50000", "sdpMid": "0"}),
		told(2100, map[string]any{"text": "cam muted by the system", "stage": "devices"}),
		failed, again)
}

func TestADumpIsAsTheFileFormatHasIt(t *testing.T) {
	got := dump(t, failing())
	const golden = "testdata/anna.rtcstats"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// readDump reads a dump by the rules of the file format, and fails where it
// breaks one. It returns the lines after the second.
func readDump(t testing.TB, text string) (lines [][]any) {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var about map[string]any
	if all[0] != "RTCStatsDump" || len(all) < 2 || json.Unmarshal([]byte(all[1]), &about) != nil || about["fileFormat"] != 3.0 {
		t.Fatalf("the dump begins with %q", all[:min(2, len(all))])
	}
	for _, text := range all[2:] {
		var line []any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if len(line) < 4 {
			t.Fatalf("a line of %d elements: %s", len(line), text)
		}
		if _, ok := line[0].(string); !ok {
			t.Errorf("no method: %s", text)
		}
		if delta, ok := line[len(line)-1].(float64); !ok || delta < 0 {
			t.Errorf("no time: %s", text)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTheTimesOfADumpAddUp(t *testing.T) {
	var now float64
	for _, line := range readDump(t, dump(t, failing())) {
		now += line[len(line)-1].(float64)
	}
	if off := now - float64(at(12000).UnixMilli()); off < -50 || off > 50 { // the second page had no ping
		t.Errorf("the last line is %v ms off", off)
	}
}

func TestAConnectionOfAnotherPageIsAnotherOne(t *testing.T) {
	pcs := make(map[any]bool)
	for _, line := range readDump(t, dump(t, failing())) {
		pcs[line[1]] = true
	}
	if len(pcs) != 3 || !pcs[nil] || !pcs["PC_0"] || !pcs["PC_1"] {
		t.Errorf("connections = %v", pcs)
	}
}

// secrets are what must never be in a dump.
func secrets() map[string]string {
	return map[string]string{
		"token":        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
		"half a token": "eyJhbGciOiJIUzI1NiJ9",
		"TURN":         "x0UsecretTURNpassword=",
		"ice-pwd":      "a=ice-pwd:s3cr3ts3cr3ts3cr3ts3cr3",
		"bearer":       "Bearer abcdefgh12345678",
		"link":         "https://video.example/r/room#joinfragment",
		"query":        "wss://video.example/ws?access=hunter2hunter2",
		"person":       "Anna Petrova",
		"IPv4":         "198.51.100.23",
		"IPv4 + port":  "198.51.100.23:50123",
		"IPv6":         "2001:db8:0:1234::17",
		"label":        "Anna's headset",
	}
}

// planted is an entry with a secret at every place where text can be.
func planted(secret string) []event.Event {
	server := seen(1, event.ParticipantFailed, map[string]any{"reason": "got " + secret + ".", "name": secret, "list": []string{secret}})
	server.Evidence = map[string]any{"deep": []any{map[string]any{"x": secret}}}
	server.Code = event.NoRoute
	return []event.Event{
		server,
		seen(2, event.NoteState, map[string]any{"user_agent": "Browser " + secret}),
		told(3, map[string]any{"text": "said " + secret, "token": secret, "other": map[string]any{"credential": secret}}),
		rtc(4, "create", "PC_0", map[string]any{"iceServers": []any{map[string]any{"urls": []any{"turn:h"}, "username": secret, "credential": secret}}}),
		rtc(5, "setLocalDescription", "PC_0", map[string]any{"sdp": "v=0\r\n" + secret + "\r\na=x"}, secret, map[string]any{"label": secret}),
	}
}

func TestADumpGivesNobodyAway(t *testing.T) {
	for name, secret := range secrets() {
		if name == "TURN" || name == "person" || name == "label" {
			continue // known by its key only: below
		}
		t.Run(name, func(t *testing.T) {
			sensitive := secret[strings.LastIndexAny(secret, " #?:")+1:]
			if strings.HasPrefix(name, "IP") {
				sensitive = strings.TrimSuffix(secret, ":50123")
			}
			text := strings.Split(dump(t, planted(secret)), "\n")
			for i, line := range text {
				if strings.HasPrefix(name, "IP") && (i == 1 || strings.Contains(line, "user_agent")) {
					continue // versions of browsers look like addresses
				}
				if strings.Contains(line, sensitive) {
					t.Errorf("%q is in %s", sensitive, line)
				}
			}
		})
	}
	for key, secret := range map[string]string{"credential": "TURN", "username": "TURN", "name": "person", "label": "label", "deviceId": "label", "password": "TURN"} {
		e := told(1, map[string]any{"text": "x", "in": []any{map[string]any{key: secrets()[secret]}}})
		if text := dump(t, []event.Event{e}); strings.Contains(text, secrets()[secret]) {
			t.Errorf("the value of %s is in %s", key, text)
		}
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	clean := newCleaner()
	for _, text := range []string{
		"a=fingerprint:sha-256 AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89", "192.168.1.5", "10.0.0.1:443", "100.64.1.1",
		"fe80::1", "fd00::17", "3f1c-a.local", "12:30:45", "turn:video.example:3478?transport=udp", "rtpmap:111 opus/48000/2", "",
	} {
		if got := clean.value(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"198.51.100.23:443": "198.51.0.0:443", "2001:db8:77:1::5": "2001:db8:77::", "::ffff:198.51.100.23": "198.51.0.0",
	} {
		if got := clean.value(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestALineThatIsNoneIsShownAsTheLogHasIt(t *testing.T) {
	for name, bad := range map[string]any{
		"no list": "getStats", "empty": []any{}, "short": []any{"getStats", nil}, "no name": []any{"", nil, 1.0},
		"name is a number": []any{6.0, "PC_0", 1.0}, "connection is a number": []any{"x", 1.0, 1.0},
		"too long": []any{"x", nil, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0},
	} {
		t.Run(name, func(t *testing.T) {
			lines := readDump(t, dump(t, []event.Event{told(1, map[string]any{"text": "x", RTCKey: bad})}))
			if len(lines) != 1 || lines[0][0] != "consilium.client" {
				t.Errorf("lines = %v", lines)
			}
		})
	}
}

// FuzzDump: whatever a client says, each line of the dump can be read and the
// token it knows is not in it.
func FuzzDump(f *testing.F) {
	f.Add(`{"text": "x", "rtc": ["getStats", "PC_0", {"a": 1}]}`)
	f.Add(`{"rtc": ["x\ny", null, "eyJhbGciOiJIUzI1NiJ9.e30.x"], "device_ms": 1e300}`)
	f.Add(`{"clock_ms": -1e308, "socket_ms": 0, "ice": 3, "pair": []}`)
	f.Fuzz(func(t *testing.T, text string) {
		var data map[string]any
		if json.Unmarshal([]byte(text), &data) != nil {
			t.Skip()
		}
		const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
		e := event.Event{Type: event.NoteClient, Time: at(1), Participant: "anna", Data: data, Failure: event.Failure{
			Evidence: map[string]any{"x": data, "token": token}, Code: event.Unknown}}
		tl := Build([]event.Event{e, ping(5, 10)})
		if _, err := json.Marshal(tl.Participants); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := (Dump{Entries: tl.Of("anna")}).Write(&out); err != nil {
			t.Fatal(err)
		}
		readDump(t, out.String())
		if strings.Contains(out.String(), token) {
			t.Error("the token is in the dump")
		}
	})
}
