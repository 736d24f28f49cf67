package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
)

// forced is a case whose cause is made: who reads what, and what is true then.
type forced struct {
	*lab
	b    *browser.Browser
	hook *receiver
	page *person // where the words are looked for; nil: nowhere
}

// post asks the API for something as an administrator.
func (l *lab) post(path string, body, answer any) {
	l.t.Helper()
	text, err := json.Marshal(body)
	l.must(err)
	base, client := l.api()
	q, err := http.NewRequestWithContext(l.t.Context(), http.MethodPost, base+path, bytes.NewReader(text))
	l.must(err)
	q.SetBasicAuth(config.DevKeyID, string(config.DevSecret))
	q.Header.Set("Content-Type", "application/json")
	r, err := client.Do(q)
	l.must(err)
	defer r.Body.Close()
	if r.StatusCode >= 300 {
		l.t.Fatalf("POST %s: %s", path, r.Status)
	}
	if answer != nil {
		l.must(json.NewDecoder(r.Body).Decode(answer))
	}
}

// arrive opens a link of a patient with these claims and agrees to join.
func (f *forced) arrive(base string, claims jwt.MapClaims) {
	f.t.Helper()
	f.page = f.open(f.b, "patient", f.invite(base, "patient", claims))
	f.agree()
}

func (f *forced) agree() {
	f.t.Helper()
	f.page.agree()
}

// says fails unless the page has these words.
func (f *forced) says(words string) {
	f.t.Helper()
	if text := f.page.Text("failure"); !strings.Contains(text, words) {
		f.t.Errorf("the page says %q, want %q in it", text, words)
	}
}

// forcedCode is one code: how it comes about, and what of it is particular.
type forcedCode struct {
	code      event.Code
	stage     event.Stage
	identity  string // of the event; "": nobody's
	inCall    bool   // it is in the journal of a call
	present   bool   // the person is in the call all the same
	configure func(*config.Config)
	force     func(*forced)
	then      func(*forced, event.Event) // nil: nothing more
}

func TestEveryFailureOfASessionIsNamedToAll(t *testing.T) {
	t.Parallel()
	b := browser.Start(t, browser.Options{})
	for name, test := range sessionCodes() {
		t.Run(name, func(t *testing.T) {
			l, hook := startHooked(t, test.configure)
			f := &forced{lab: l, b: b, hook: hook}
			test.force(f)
			e := wantCode(t, f.page, l, hook, test.identity, test.code)
			if e.Stage != test.stage || (e.Call != "") != test.inCall {
				t.Errorf("at stage %s in call %q, want stage %s, in a call: %v", e.Stage, e.Call, test.stage, test.inCall)
			}
			if present, _ := e.Data["present"].(bool); present != test.present {
				t.Errorf("present is %v, want %v: %v", present, test.present, e.Data)
			}
			if test.then != nil {
				test.then(f, e)
			}
		})
	}
}

func sessionCodes() map[string]forcedCode {
	return map[string]forcedCode{
		"a token that nobody here signed": {
			code: event.TokenBad, stage: event.StageSocket,
			force: func(f *forced) { f.arrive(f.url, jwt.MapClaims{"iss": "somebody-else"}) },
			then:  namesNobody,
		},
		"a link that lost its token": {
			code: event.TokenBad, stage: event.StageSocket,
			force: func(f *forced) { f.page = f.open(f.b, "patient", f.url+"/r/room-patient") },
			then: func(f *forced, e event.Event) {
				if e.Evidence["claimed_room"] != "room-patient" {
					f.t.Errorf("evidence %v", e.Evidence)
				}
			},
		},
		"a token that has expired, of a call that is going on": {
			code: event.TokenExpired, stage: event.StageSocket, identity: "patient", inCall: true,
			force: func(f *forced) {
				f.bot("room-patient", "doctor", auth.RoleDoctor, nil)
				f.waitEvent(event.ParticipantJoined, "doctor", patience)
				f.arrive(f.url, jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()})
			},
		},
		"a token that is not good yet": {
			code: event.TokenEarly, stage: event.StageSocket, identity: "patient",
			force: func(f *forced) {
				now := time.Now()
				f.arrive(f.url, jwt.MapClaims{"nbf": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()})
			},
		},
		"a refusal to be recorded": {
			code: event.ConsentDeclined, stage: event.StagePage, identity: "patient",
			force: func(f *forced) {
				f.page = f.open(f.b, "patient", f.invite(f.url, "patient", nil))
				f.page.Click("consent-refuse")
			},
			then: func(f *forced, _ event.Event) { f.waitEvent(event.ConsentRefused, "patient", patience) },
		},
		"a call that is full": {
			code: event.ServerBusy, stage: event.StageSocket, identity: "patient", inCall: true,
			configure: func(c *config.Config) { c.Calls.MaxParticipants = 1 },
			force:     fillTheCall,
			then:      comesInByItself,
		},
		"a server that restarts": {
			code: event.ServerRestart, stage: event.StageFlowing, identity: "patient", inCall: true,
			configure: func(c *config.Config) { c.Calls.WaitingRoom = config.WaitingRoomPatients },
			force:     restart,
			then:      backWithoutWaiting,
		},
		"a socket that is not let through": {
			code: event.SignalLost, stage: event.StageSocket, identity: "patient",
			force: func(f *forced) { f.arrive(f.proxy("", "/ws", nil), nil) },
		},
		"a socket that is cut for too long": {
			code: event.SignalLost, stage: event.StageSocket, identity: "patient", inCall: true,
			configure: func(c *config.Config) { c.Signaling.ResumeWindow = 4 * time.Second },
			force:     cutTheSocket,
		},
		"a second window": {
			code: event.SessionReplaced, stage: event.StageFlowing, identity: "doctor", inCall: true, present: true,
			force: openTwice,
			then:  goesOnElsewhere,
		},
		"nobody else comes": {
			code: event.PeerAbsent, stage: event.StageFlowing, identity: "doctor", inCall: true, present: true,
			configure: func(c *config.Config) { c.Calls.AbsentAfter = 1500 * time.Millisecond },
			force:     func(f *forced) { f.page = f.enter(f.b, "room", "doctor", auth.RoleDoctor) },
			then:      untilSomebodyDoes,
		},
		"the doctor does not come": {
			code: event.PeerAbsent, stage: event.StageFlowing, identity: "patient", inCall: true, present: true,
			configure: func(c *config.Config) { c.Calls.AbsentAfter = 1500 * time.Millisecond },
			force:     waitForTheDoctor,
			then:      untilTheDoctorDoes,
		},
	}
}

// namesNobody: whoever made the token up may claim anything.
func namesNobody(f *forced, e event.Event) {
	if e.Room != "" || e.Participant != "" || e.Call != "" {
		f.t.Errorf("it names %q in room %q, call %q", e.Participant, e.Room, e.Call)
	}
	if e.Evidence["claimed_room"] != "room-patient" || e.Evidence["claimed_participant"] != "patient" {
		f.t.Errorf("evidence %v", e.Evidence)
	}
	f.says("ask the clinic for a new one")
	f.says(e.Incident())
}

func fillTheCall(f *forced) {
	f.bot("room-patient", "doctor", auth.RoleDoctor, nil)
	f.waitEvent(event.ParticipantJoined, "doctor", patience)
	f.arrive(f.url, nil)
}

// comesInByItself: the page tries again, and is in when there is room.
func comesInByItself(f *forced, e event.Event) {
	if e.Data["retry_ms"] != float64(2000) {
		f.t.Errorf("data %v, want retry_ms 2000", e.Data)
	}
	f.remove(e.Call, "doctor")
	f.page.WaitVisible("call")
	f.page.WaitGone("failure")
}

// remove takes somebody out of a call.
func (l *lab) remove(call, identity string) {
	l.t.Helper()
	q, err := http.NewRequestWithContext(l.t.Context(), http.MethodDelete, l.url+"/v1/calls/"+call+"/participants/"+identity, nil)
	l.must(err)
	q.SetBasicAuth(config.DevKeyID, string(config.DevSecret))
	r, err := http.DefaultClient.Do(q)
	l.must(err)
	defer r.Body.Close()
	if r.StatusCode >= 300 {
		l.t.Fatalf("remove %s: %s", identity, r.Status)
	}
}

// restart lets a patient in and stops the server: what it has to say is at the
// webhook before it ends. Then it comes back.
func restart(f *forced) {
	f.arrive(f.url, nil)
	f.page.WaitVisible("waiting")
	waiting := f.waitEvent(event.ParticipantWaiting, "patient", patience)
	f.post("/v1/calls/"+waiting.Call+"/participants/patient/admit", struct{}{}, nil)
	f.page.WaitVisible("call")
	f.stop()
	told := false
	all, _ := f.hook.all()
	for _, e := range all {
		told = told || failureOf("patient")(e) && e.Code == event.ServerRestart
	}
	if !told {
		f.t.Errorf("the webhook had not got it when the server ended; it got %s", summary(all))
	}
	f.page.isTold(event.ServerRestart)
	f.run()
	f.comesBack()
}

// comesBack waits until the page is in the call again, without a click. There
// are no words left to look for then.
func (f *forced) comesBack() {
	f.t.Helper()
	f.page.WaitVisible("call")
	f.page.WaitGone("failure")
	f.page = nil
}

// backWithoutWaiting: who was let in before the restart need not wait again.
func backWithoutWaiting(f *forced, _ event.Event) {
	waited := 0
	for _, e := range f.events() {
		if e.Type == event.ParticipantWaiting {
			waited++
		}
	}
	if waited != 1 {
		f.t.Errorf("he waited %d times, want once", waited)
	}
}

func cutTheSocket(f *forced) {
	c := newCutter(f.t, f.server.Address())
	f.arrive("http://"+c.listener.Addr().String(), nil)
	f.page.WaitVisible("call")
	c.set(true)
	f.page.isTold(event.SignalLost)
	f.hook.wait(f.t, "the failure", failureOf("patient"))
	c.set(false)
	f.comesBack()
}

func openTwice(f *forced) {
	first := f.enter(f.b, "room", "doctor", auth.RoleDoctor)
	f.page = f.enter(f.b, "room", "doctor", auth.RoleDoctor)
	first.WaitFor("the end", `document.querySelector('[data-testid=ended]')?.dataset.code === 'SESSION_REPLACED'`)
	if words := first.Text("ended"); !strings.Contains(words, "go on here") {
		f.t.Errorf("the first window says %q", words)
	}
	f.page.WaitVisible("call")
	f.page = nil // the words are on the first, and said
}

// goesOnElsewhere: the event names both sessions, and the person has not left.
func goesOnElsewhere(f *forced, e event.Event) {
	var p struct {
		State    string
		Sessions []string
	}
	f.lab.get("/v1/calls/"+e.Call+"/participants/doctor", &p)
	if p.State != "joined" || len(p.Sessions) != 1 || p.Sessions[0] == e.Session || e.Data["superseded_by"] != p.Sessions[0] {
		f.t.Errorf("session %s superseded by %v; he is %s in %v", e.Session, e.Data["superseded_by"], p.State, p.Sessions)
	}
}

func untilSomebodyDoes(f *forced, _ event.Event) {
	f.says("Nobody else has come yet")
	f.bot("room", "patient", auth.RolePatient, nil)
	f.page.WaitVisible("tile")
	f.page.WaitGone("failure")
}

// waitForTheDoctor: a patient who reads Russian waits to be let in.
func waitForTheDoctor(f *forced) {
	type invited struct {
		Identity string `json:"identity"`
		Role     string `json:"role"`
		Lang     string `json:"lang"`
		URL      string `json:"url,omitempty"`
	}
	var made struct{ Participants []invited }
	f.post("/v1/calls", map[string]any{"room": "room", "hold": true, "participants": []invited{
		{Identity: "patient", Role: "patient", Lang: "ru"}, {Identity: "doctor", Role: "doctor"},
	}}, &made)
	f.page = f.open(f.b, "patient", made.Participants[0].URL)
	f.agree()
	f.page.WaitVisible("waiting")
}

func untilTheDoctorDoes(f *forced, e event.Event) {
	f.says("Врач ещё не подключился")
	if awaited, _ := e.Evidence["awaited"].([]any); len(awaited) != 1 || awaited[0] != "doctor" {
		f.t.Errorf("awaited %v, want the doctor", e.Evidence["awaited"])
	}
	f.bot("room", "doctor", auth.RoleDoctor, nil)
	f.waitEvent(event.ParticipantJoined, "doctor", patience)
	f.post("/v1/calls/"+e.Call+"/participants/patient/admit", struct{}{}, nil)
	f.page.WaitVisible("call")
	f.page.WaitGone("failure")
}

func TestAPageThatIsClosedIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l, hook := startHooked(t, func(c *config.Config) { c.Signaling.ResumeWindow = time.Second })
			p := l.enter(browser.Start(t, browser.Options{Kind: kind}), "room", "doctor", auth.RoleDoctor)
			p.Goto(l.url + "/healthz")
			hook.wait(t, "participant.left", func(e event.Event) bool { return e.Type == event.ParticipantLeft })
			all, _ := hook.all()
			for _, e := range all {
				if e.Type == event.ParticipantFailed {
					t.Errorf("told %s of %s: %v", e.Code, e.Participant, e.Evidence)
				}
			}
		})
	}
}
