package timeline

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"consilium/internal/event"
)

var base = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// ahead is how far the device's clock is wrong in these tests.
const ahead = 90 * time.Second

// at is a moment of the call.
func at(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }

// told is an entry of the device's log: noted at a moment, heard 40 ms later.
func told(ms int, data map[string]any) event.Event {
	data["device_ms"] = float64(at(ms).Add(ahead).UnixMilli())
	return event.Event{Type: event.NoteClient, Time: at(ms + 40), Participant: "anna", Session: "s1", Data: data}
}

// rtc is an entry with a line of a dump.
func rtc(ms int, name string, pc any, value any, extra ...any) event.Event {
	return told(ms, map[string]any{"text": name, RTCKey: append([]any{name, pc, value}, extra...)})
}

// ping is a report that measured the clock.
func ping(ms int, rtt float64) event.Event {
	return told(ms, map[string]any{"text": "stats", "socket_ms": rtt, "clock_ms": -float64(ahead.Milliseconds()) + rtt/4})
}

// seen is what the server saw.
func seen(ms int, typ event.Type, data map[string]any) event.Event {
	return event.Event{Type: typ, Time: at(ms), Participant: "anna", Session: "s1", Data: data}
}

// visit is a call that works.
func visit() []event.Event {
	return []event.Event{
		{Type: event.CallStarted, Time: at(0)},
		told(0, map[string]any{"text": "loaded"}),
		rtc(10, "navigator.mediaDevices.getUserMedia", nil, map[string]any{"audio": true}),
		rtc(910, "navigator.mediaDevices.getUserMediaOnSuccess", nil, []any{}),
		told(1000, map[string]any{"text": "socket opening"}),
		told(1030, map[string]any{"text": "socket open"}),
		seen(1030, event.NoteState, map[string]any{"text": "session opened", "user_agent": "Browser/156.0.0.0"}),
		rtc(1100, "setLocalDescription", "PC_0", map[string]any{"type": "offer", "sdp": "v=0"}),
		seen(1200, event.NoteNegotiation, map[string]any{"text": "offer answered", "took_ms": 70}),
		seen(1201, event.NoteCandidate, map[string]any{"type": "host", "protocol": "udp", "address": "a.local", "port": 9, "reason": "hidden"}),
		seen(1202, event.NoteCandidate, map[string]any{"type": "host", "protocol": "udp", "address": "a.local", "port": 9.0, "reason": "hidden"}),
		rtc(1250, "setRemoteDescriptionOnSuccess", "PC_0", nil),
		seen(1300, event.NoteState, map[string]any{"ice": "connected"}),
		rtc(1310, "oniceconnectionstatechange", "PC_0", "connected"),
		seen(1310, event.ICEConnected, map[string]any{"path": "relay", "protocol": "tcp", "after_ms": int64(110)}),
		rtc(1350, "onconnectionstatechange", "PC_0", "connected"),
		told(1351, map[string]any{"text": "connected", "rescued": true}),
		told(1352, map[string]any{"text": "selected pair", "pair": map[string]any{"relay_protocol": "tcp"}}),
		seen(1360, event.NoteState, map[string]any{"dtls": "connected"}),
		seen(1500, event.MediaFlowing, map[string]any{"source": "cam"}),
		ping(1600, 80), ping(3600, 8), ping(5600, 30),
		told(2300, map[string]any{"text": "first frame"}),
	}
}

func TestBothSidesStandOnOneClock(t *testing.T) {
	tl := Build(visit())
	for i, e := range tl.Entries[1:] {
		if e.At.Before(tl.Entries[i].At) {
			t.Errorf("%v at %v comes after %v", e.Data, e.At, tl.Entries[i].At)
		}
	}
	own := tl.Of("anna")
	if own[0].Side != Client || own[0].Data["text"] != "loaded" {
		t.Fatalf("the first entry is %+v", own[0])
	}
	// The best of three pings had a round trip of 8 ms and was wrong by 2 ms.
	if off := own[0].At.Sub(at(0)); off < -4*time.Millisecond || off > 4*time.Millisecond {
		t.Errorf("the first entry is %v off", off)
	}
	clocks := tl.Participants[0].Clocks
	if len(clocks) != 1 || clocks[0].Method != "ping" || clocks[0].Samples != 3 || *clocks[0].AccuracyMS != 4 || clocks[0].Session != "s1" {
		t.Errorf("clocks = %+v", clocks)
	}
}

func TestWithoutAPingTheFirstToArriveGivesTheClock(t *testing.T) {
	slow := told(0, map[string]any{"text": "loaded"})
	slow.Time = at(5000) // waited for the socket
	https := event.Event{Type: event.NoteClient, Time: at(3010), Participant: "boris", Data: map[string]any{
		"via": "https", "client_time": at(3000).Add(-time.Hour).Format(time.RFC3339Nano),
	}}
	tl := Build([]event.Event{slow, told(4900, map[string]any{"text": "socket open"}), https})
	for _, want := range []struct {
		who string
		off time.Duration
	}{{"anna", 40 * time.Millisecond}, {"boris", 10 * time.Millisecond}} {
		e := tl.Of(want.who)[0]
		if want.who == "anna" && e.At.Sub(at(0)) != want.off || want.who == "boris" && e.At.Sub(at(3000)) != want.off {
			t.Errorf("%s: the first entry is at %v", want.who, e.At)
		}
	}
	for _, p := range tl.Participants {
		if c := p.Clocks[0]; c.Method != "arrival" || c.AccuracyMS != nil {
			t.Errorf("clock of %s = %+v", p.Identity, c)
		}
	}
}

func TestADeviceThatLiesAboutItsTimeIsHeardWhenItArrives(t *testing.T) {
	for name, data := range map[string]map[string]any{
		"long ago":       {"device_ms": 1.0},
		"in the future":  {"device_ms": float64(at(0).Add(24 * time.Hour).UnixMilli())},
		"no time at all": {}, "negative": {"device_ms": -1.0}, "far beyond": {"device_ms": 1e300},
		"text": {"device_ms": "now"}, "not a date": {"via": "https", "client_time": "yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			honest := told(0, map[string]any{"text": "loaded"})
			lie := event.Event{Type: event.NoteClient, Time: at(50), Participant: "anna", Session: "s1", Data: data}
			for _, e := range Build([]event.Event{honest, lie}).Entries {
				if e.At.After(e.Time) {
					t.Errorf("%v is said to be before it happened: %v", e.Data, e.At)
				}
				if e.Time.Sub(e.At) > longestLog {
					t.Errorf("%v is said to have happened at %v", e.Data, e.At)
				}
			}
		})
	}
}

func TestAllPingsAndArrivalsTogetherBoundTheClock(t *testing.T) {
	report := func(offset, rtt float64) event.Event {
		return told(100, map[string]any{"text": "stats", "socket_ms": rtt, "clock_ms": -float64(ahead.Milliseconds()) + offset})
	}
	for name, test := range map[string]struct {
		reports          []event.Event
		offset, accuracy float64 // beyond the true one, in ms
	}{
		"one ping":                  {[]event.Event{report(0, 40)}, 0, 20},
		"two that overlap":          {[]event.Event{report(0, 40), report(30, 40)}, 15, 5},
		"bounded by what arrived":   {[]event.Event{report(100, 200)}, 20, 20},
		"two that exclude another":  {[]event.Event{report(-500, 10), report(0, 20)}, -500, 5},
		"a round trip of a minute":  {[]event.Event{report(0, 40), report(3, 70_000)}, 0, 20},
		"an offset beyond all time": {[]event.Event{report(0, 40), report(1e308, 0), report(-1e308, 0)}, 0, 20},
	} {
		t.Run(name, func(t *testing.T) {
			c := Build(test.reports).Participants[0].Clocks[0]
			if got := c.OffsetMS + float64(ahead.Milliseconds()); got != test.offset || *c.AccuracyMS != test.accuracy {
				t.Errorf("offset %v, accuracy %v; want %v, %v", got, *c.AccuracyMS, test.offset, test.accuracy)
			}
		})
	}
}

func TestStagesHaveTheirDurationsOnBothSides(t *testing.T) {
	got := make(map[Side]map[event.Stage]float64)
	for _, s := range Build(visit()).Participants[0].Stages {
		if s.MS == nil {
			if s.Name != event.StageFlowing {
				t.Errorf("%s of %s was not passed", s.Name, s.Side)
			}
			continue
		}
		if got[s.Side] == nil {
			got[s.Side] = make(map[event.Stage]float64)
		}
		got[s.Side][s.Name] = *s.MS
	}
	for side, stages := range map[Side]map[event.Stage]float64{
		Client: {"page": 1000, "devices": 900, "socket": 30, "offer": 150, "ice": 60, "dtls": 40, "first_frame": 950},
		Server: {"offer": 70, "ice": 100, "dtls": 60, "first_rtp": 140},
	} {
		for name, ms := range stages {
			if d := got[side][name] - ms; d < -1 || d > 1 {
				t.Errorf("%s of %s took %v ms, want %v", name, side, got[side][name], ms)
			}
		}
		if len(got[side]) != len(stages) {
			t.Errorf("%s: %v", side, got[side])
		}
	}
}

func TestICEThatIsThroughBeforeTheAnswerWasTakenPassesItsStages(t *testing.T) {
	for _, s := range Build([]event.Event{
		rtc(1100, "setLocalDescription", "PC_0", nil),
		rtc(1240, "oniceconnectionstatechange", "PC_0", "checking"),
		rtc(1260, "oniceconnectionstatechange", "PC_0", "connected"),
		rtc(1270, "setRemoteDescriptionOnSuccess", "PC_0", nil),
		rtc(1280, "onconnectionstatechange", "PC_0", "connected"),
		told(1400, map[string]any{"text": "first frame"}),
	}).Participants[0].Stages {
		want := map[event.Stage]float64{"offer": 140, "ice": 20, "dtls": 20, "first_frame": 120}[s.Name]
		if s.MS == nil || math.Abs(*s.MS-want) > 1 {
			t.Errorf("%s = %+v, want %v ms", s.Name, s, want)
		}
	}
}

func TestTheFirstCauseOfAStageThatWasNotPassedIsNamed(t *testing.T) {
	fail := func(ms int, typ event.Type, code event.Code, stage event.Stage) event.Event {
		e := seen(ms, typ, map[string]any{"text": "x"})
		e.Code, e.Stage = code, stage
		return e
	}
	stages := Build([]event.Event{
		seen(1200, event.NoteNegotiation, map[string]any{"took_ms": 70}),
		fail(10700, event.NoteClient, event.TURNAuth, event.StageICE),
		fail(11200, event.ParticipantFailed, event.NoRoute, event.StageICE),
		fail(11200, event.MediaTimeout, event.NoMediaOut, event.StageICE),
	}).Participants[0].Stages
	codes := make(map[Side]event.Code)
	for _, s := range stages {
		if s.Name == event.StageICE && s.MS == nil {
			codes[s.Side] = s.Code
		}
	}
	if codes[Client] != event.TURNAuth || codes[Server] != event.NoRoute {
		t.Errorf("codes = %v of %+v", codes, stages)
	}
}

func TestPathCandidatesAndStatesAreTold(t *testing.T) {
	p := Build(visit()).Participants[0]
	if p.Path == nil || p.Path.Path != "relay" || p.Path.Protocol != "tcp" || p.Path.AfterMS != 110 ||
		p.Path.Rescued != "relay_only_restart" || p.Path.Pair["relay_protocol"] != "tcp" {
		t.Errorf("path = %+v", p.Path)
	}
	if len(p.Candidates) != 1 || p.Candidates[0] != (Candidate{"host", "udp", "a.local", 9, "hidden"}) {
		t.Errorf("candidates = %+v", p.Candidates)
	}
	if s := p.States; len(s.Client.ICE) != 1 || len(s.Client.DTLS) != 1 || len(s.Server.ICE) != 1 || len(s.Server.DTLS) != 1 || len(s.Server.Signaling) != 1 {
		t.Errorf("states = %+v", s)
	}
}

func TestAnEntryIsAnEventWithSideAndTime(t *testing.T) {
	text, err := json.Marshal(Entry{Event: event.Event{ID: "1", Type: event.NoteClient, Time: at(1)}, Side: Client, At: at(0)})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if got["id"] != "1" || got["side"] != "client" || got["at"] != "2026-11-23T10:00:00.000000Z" || got["time"] != "2026-11-23T10:00:00.001000Z" {
		t.Errorf("entry = %s", text)
	}
}

func TestAnEmptyCallHasAnEmptyTimeline(t *testing.T) {
	if tl := Build(nil); len(tl.Entries) != 0 || tl.Participants == nil {
		t.Errorf("%+v", tl)
	}
}
