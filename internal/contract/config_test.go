package contract

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPublicAddressesTakeThePlaceOfLocalOnes(t *testing.T) {
	t.Parallel()
	c := serve(t, options{"media.public_addresses": "203.0.113.7", "media.own_addresses": "false"})
	a := c.ask("POST", "/whip/room", bearer(joinToken(t, "room", "cam-1", "device")), sending(t), sdpType)
	found := candidates(a.body)
	if len(found) < 2 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, candidate := range found {
		if candidate[0] != "203.0.113.7" {
			t.Errorf("the answer has %v", candidate)
		}
	}
	if !strings.Contains(c.ask("GET", "/v1/turn", apiKey(), "").body, "turn:203.0.113.7:") {
		t.Error("the TURN URIs do not name the public address")
	}
}

func TestMorePublicAddressesThanLocalOnesStopTheStart(t *testing.T) {
	t.Parallel()
	got := command(t, []string{"CONSILIUM_KEYS_MIS_SECRET=" + keySecret}, "serve", "--data", t.TempDir(),
		"--http.address=127.0.0.1:0", "--media.udp_port=0", "--media.loopback=true", "--media.interfaces.include=lo",
		"--media.families=ipv4", "--media.public_addresses=203.0.113.7,203.0.113.8")
	wantOneLine(t, got, 1, "media.public_addresses", "203.0.113.8")
}

func TestAnswersBoundTheBitrateOfVideo(t *testing.T) {
	t.Parallel()
	c := serve(t, options{"media.max_bitrate": "1700"})
	auth := bearer(joinToken(t, "room", "cam-1", "patient"))
	sdp := c.ask("POST", "/whip/room", auth, sending(t), sdpType).body
	_, video, _ := strings.Cut(sdp, "m=video")
	if !strings.Contains(video, "b=AS:1700\r\n") || !strings.Contains(video, "b=TIAS:1700000\r\n") || strings.Count(sdp, "b=TIAS:") != 1 {
		t.Errorf("the answer does not bound the video:\n%s", sdp)
	}
}

func TestJoinsBeyondTheLimitAreToldToComeBack(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(rate int) {
		t.Helper()
		if err := os.WriteFile(file, []byte("limits:\n  joins_per_second: "+strconv.Itoa(rate)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	c := serve(t, options{"config": file})
	token := joinToken(t, "room", "anna", "patient")
	refused := false
	for range 5 {
		s := c.socket()
		got := s.hello(token)
		s.close()
		if got.Type == "error" {
			refused = true
			if got.code() != "SERVER_BUSY" || got.refusal().Retry <= 0 {
				t.Errorf("got %s", got.Body)
			}
		}
	}
	if !refused {
		t.Error("five joins at once were taken at one a second")
	}
	for range 3 {
		if a := c.ask("POST", "/whip/room", bearer(token), sending(t), sdpType); a.status != http.StatusCreated {
			a.wantProblem(t, "a WHIP join too many", 503, "SERVER_BUSY")
		}
	}
	write(1000)
	_ = c.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, 5*time.Second, "the new limit", func() bool { return strings.Contains(c.logged(), "configuration reloaded") })
	for range 5 {
		if a := c.ask("POST", "/whip/room", bearer(token), sending(t), sdpType); a.status != http.StatusCreated {
			t.Errorf("after the reload: %d %s", a.status, a.body)
		}
	}
}

func TestMetricsHaveAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	address := "127.0.0.1:" + freePort(t)
	c := serve(t, options{"metrics.address": address})
	scrape := func(url, authorization string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", authorization)
		response, err := client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	status, open := scrape("http://"+address+"/metrics", "")
	if status != http.StatusOK || !strings.Contains(open, "# TYPE consilium_events_total counter") {
		t.Errorf("metrics.address: %d %.200s", status, open)
	}
	if status, _ := scrape("http://"+address+"/v1/calls", apiKey()); status != http.StatusNotFound {
		t.Errorf("metrics.address answers %d to the API", status)
	}
	reference, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, all := scrape(c.URL+"/metrics", apiKey())
	for line := range strings.Lines(all) {
		name, isType := strings.CutPrefix(line, "# TYPE ")
		name, _, _ = strings.Cut(name, " ")
		if isType && !strings.Contains(string(reference), "| `"+name+"` |") {
			t.Errorf("%s is not in docs/reference/metrics.md", name)
		}
	}
	for line := range strings.Lines(string(reference)) {
		name, isRow := strings.CutPrefix(line, "| `")
		name, _, _ = strings.Cut(name, "`")
		// Only with TLS, a webhook or an object store, which this server has not.
		other := strings.HasPrefix(name, "consilium_tls_certificate") || strings.HasPrefix(name, "consilium_certificate") ||
			strings.HasPrefix(name, "consilium_webhook") || strings.HasPrefix(name, "consilium_upload")
		if isRow && !other && !strings.Contains(all, "# TYPE "+name+" ") {
			t.Errorf("%s is documented and not exposed", name)
		}
	}
}

func TestACallThatCannotBeRecordedEndsWhereConfigured(t *testing.T) {
	t.Parallel()
	for mode, ends := range map[string]bool{"stop": true, "warn": false} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := serve(t, options{"recording.on_failure": mode})
			p := c.pair("room")
			c.breakRecording(p.doctor.Snapshot().Welcome.Call)
			c.waitEvent(20*time.Second, "recording.failed", "room", "")
			if ends {
				ended := c.waitEvent(5*time.Second, "call.ended", "room", "")
				if ended.Data["by"] != "recorder" {
					t.Errorf("the call ended by %v, want recorder", ended.Data)
				}
				return
			}
			p.wantMedia()
		})
	}
}

// breakRecording takes the directories of a call's recording away.
func (c *child) breakRecording(call string) {
	c.t.Helper()
	for _, dir := range []string{"spool", "recordings"} {
		if err := os.RemoveAll(filepath.Join(c.data, dir, call)); err != nil {
			c.t.Fatal(err)
		}
	}
	// A new track needs a new file, whose directory is gone.
	c.join(joinToken(c.t, "room", "third", "patient"), nil)
}
