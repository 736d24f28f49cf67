package contract

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTURNCredentialsAreForWhoMayAsk(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	type credentials struct {
		Username, Password string
		TTL                int
		URIs               []string
	}
	for name, r := range map[string]struct{ authorization, query, user string }{
		"API key":                      {apiKey(), "?username=tv-7", "tv-7"},
		"admin":                        {bearer(sign(t, claims{"role": "admin", "room": "*", "sub": "root"})), "?username=tv-7", "tv-7"},
		"join token":                   {bearer(joinToken(t, "room", "anna", "patient")), "", "anna"},
		"join token for somebody else": {bearer(joinToken(t, "room", "anna", "patient")), "?username=tv-7", "anna"},
	} {
		a := c.ask("GET", "/v1/turn"+r.query, r.authorization, "")
		var got credentials
		a.decode(t, &got)
		if a.status != http.StatusOK || got.Password == "" || got.TTL < 60 || len(got.URIs) < 2 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if expires, user, ok := strings.Cut(got.Username, ":"); !ok || expires < "1" || !strings.HasSuffix(user, r.user) {
			t.Errorf("%s: username %q, want EXPIRY:...%s", name, got.Username, r.user)
		}
		udp, tcp := false, false
		for _, uri := range got.URIs {
			udp = udp || strings.HasPrefix(uri, "turn:") && strings.HasSuffix(uri, "?transport=udp")
			tcp = tcp || strings.HasPrefix(uri, "turn:") && strings.HasSuffix(uri, "?transport=tcp")
		}
		if !udp || !tcp {
			t.Errorf("%s: uris %q, want UDP and TCP", name, got.URIs)
		}
		if strings.Contains(strings.Join(got.URIs, " "), ":0?") {
			t.Errorf("%s: uris %q name no real port", name, got.URIs)
		}
	}
	c.ask("GET", "/v1/turn?username=a/b", apiKey(), "").wantProblem(t, "an odd username", 422, "unusable")
	c.ask("GET", "/v1/turn", bearer("x"), "").wantProblem(t, "a bad token", 401, "TOKEN_BAD")
}

func TestAnIgnoredCandidateIsInTheJournalWithItsReason(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	const name = "9b36eaac-bb2e-49bb-bb78-21c41c499900.local"
	o := sending(t) + "a=candidate:1 1 udp 2113937151 " + name + " 50123 typ host\r\n"
	a := c.ask("POST", "/whip/room", bearer(joinToken(t, "room", "cam-1", "device")), o, sdpType)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	call := c.waitEvent(5*time.Second, "participant.joined", "room", "cam-1").Call
	var found event
	eventually(t, 5*time.Second, "the candidate in the journal", func() bool {
		var timeline page
		c.get("/v1/calls/"+call+"/journal", &timeline)
		for _, e := range timeline.Events {
			if e.Type == "note.candidate" && strings.Contains(fmt.Sprint(e.Data), name) {
				found = e
			}
		}
		return found.ID != ""
	})
	if reason, _ := found.Data["reason"].(string); len(reason) < 8 || found.Participant != "cam-1" {
		t.Errorf("the note is %v of %q, want whose and why", found.Data, found.Participant)
	}
	for _, e := range c.events() {
		if strings.HasPrefix(e.Type, "note.") {
			t.Errorf("the feed has %s", e.Type)
		}
	}
}

// candidates returns address and transport of each candidate of an answer.
func candidates(sdp string) (found [][2]string) {
	for line := range strings.Lines(sdp) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:"); ok {
			if f := strings.Fields(c); len(f) > 5 {
				found = append(found, [2]string{f[4], strings.ToLower(f[2])})
			}
		}
	}
	return found
}

func TestAnswersHaveTheChosenAddressesOnly(t *testing.T) {
	t.Parallel()
	// All interfaces but the loopback one, if there is another; and the reverse.
	var others []string
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 {
			others = append(others, i.Name)
		}
	}
	c := serve(t, options{"media.interfaces.include": "", "media.interfaces.exclude": strings.Join(append(others, "dummy0"), ",")})
	a := c.ask("POST", "/whip/room", bearer(joinToken(t, "room", "cam-1", "device")), sending(t), sdpType)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	transports := map[string]bool{}
	for _, candidate := range candidates(a.body) {
		if candidate[0] != "127.0.0.1" {
			t.Errorf("the answer has %s, which is on an excluded interface", candidate)
		}
		transports[candidate[1]] = true
	}
	if !transports["udp"] || !transports["tcp"] {
		t.Errorf("the answer has candidates for %v, want udp and tcp:\n%s", transports, a.body)
	}
}

func TestAFilterThatLeavesNothingStopsTheStart(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]string{
		"networks":   {"--media.networks.exclude=0.0.0.0/0,::/0"},
		"interfaces": {"--media.interfaces.include=nosuch0"},
	} {
		got := command(t, nil, append([]string{
			"serve", "--dev", "--http.address=127.0.0.1:0", "--media.udp_port=0", "--media.tcp_port=0", "--turn.udp_port=0",
		}, keys...)...)
		lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
		last := lines[len(lines)-1]
		if got.code != 1 || got.stdout != "" || !strings.Contains(last, "media."+name) {
			t.Errorf("%s: got %+v, want exit code 1 and the remedy", name, got)
		}
	}
}
