package trial

import (
	"testing"
	"time"

	"consilium/internal/netlab"
)

func TestPathsAreNamedByWhatTheyCross(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "host udp": netlab.PathUDP, "prflx udp": netlab.PathUDP, "host tcp": netlab.PathICETCP,
		"relay tls": netlab.PathTURNS, "relay tcp": netlab.PathTURN, "relay udp": netlab.PathTURNUDP, "websocket": netlab.PathWebSocket,
	} {
		if got := pathOf(text); got != want {
			t.Errorf("pathOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestGapsAreThoseOfTheWorstStream(t *testing.T) {
	w, start := &flowWatch{}, time.Unix(1000, 0)
	w.look(start, [4]uint64{1, 1, 1, 1})
	for i := range 20 { // the third stream stands still for a second
		n := uint64(i + 2)
		third := uint64(1)
		if i >= 10 {
			third = n
		}
		w.look(start.Add(time.Duration(i+1)*100*time.Millisecond), [4]uint64{n, n, third, n})
	}
	if w.gap != time.Second {
		t.Errorf("gap %v, want 1s", w.gap)
	}
}

func TestAVerdictMustBeRightEverywhereAndInTime(t *testing.T) {
	right := Result{
		PatientCodes: []string{"NO_ROUTE"}, DoctorCodes: []string{"NO_ROUTE"}, WebhookCode: "NO_ROUTE",
		PatientAfter: 9 * time.Second, DoctorAfter: 10 * time.Second, WebhookAfter: 10 * time.Second,
	}
	for name, edit := range map[string]func(*Result){
		"nothing at the doctor's":  func(r *Result) { r.DoctorCodes = nil },
		"another code at webhook":  func(r *Result) { r.WebhookCode = "UNKNOWN" },
		"late at the patient's":    func(r *Result) { r.PatientAfter = 11 * time.Second },
		"another code comes first": func(r *Result) { r.PatientCodes = []string{"UNKNOWN", "NO_ROUTE"} },
	} {
		wrong := right
		edit(&wrong)
		if wrong.RightVerdict("NO_ROUTE") {
			t.Errorf("%s: taken for right", name)
		}
	}
	if !right.RightVerdict("NO_ROUTE") {
		t.Error("the right verdict is not taken for right")
	}
}
