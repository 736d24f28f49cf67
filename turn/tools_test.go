package turn

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tool runs one of coturn's command line tools and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Errorf("%s is missing: install the Debian package coturn", name)
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		t.Logf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// echo makes the media socket answer what it gets, as turnutils_peer does, and
// counts it.
func (b *bench) echo(t *testing.T) *atomic.Int64 {
	t.Helper()
	var got atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := b.media.ReadFromAddrPort(buf)
			if err != nil {
				return
			}
			got.Add(1)
			if _, err := b.media.WriteToAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { _ = b.media.Close(); wg.Wait() })
	return &got
}

var (
	received = regexp.MustCompile(`tot_recv_msgs=(\d+)`)
	lost     = regexp.MustCompile(`Total lost packets (\d+)`)
)

// lastNumber returns the last number that re finds in out.
func lastNumber(t *testing.T, re *regexp.Regexp, out string) int {
	t.Helper()
	all := re.FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		t.Errorf("no %v in:\n%s", re, out)
		return -1
	}
	n, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		t.Error(err)
	}
	return n
}

func TestCoturnClientReachesTheMediaSocketAndNothingElse(t *testing.T) {
	b := start(t, nil)
	got := b.echo(t)
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var stolen atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2000)
		for {
			if _, _, err := sink.ReadFrom(buf); err != nil {
				return
			}
			stolen.Add(1)
		}
	})
	t.Cleanup(func() { _ = sink.Close(); wg.Wait() })

	session := b.mint(t, Session, "s1")
	var runs sync.WaitGroup // the tool takes its time, so all at once
	for name, tc := range map[string]struct {
		to   netip.AddrPort
		args []string
	}{
		"UDP and a minted credential": {b.udp, []string{"-u", session.Username, "-w", session.Password}},
		"UDP and the shared secret":   {b.udp, []string{"-u", "alice", "-W", testSecret}},
		"UDP and Send indications":    {b.udp, []string{"-s", "-u", "alice", "-W", testSecret}},
		"TCP and a minted credential": {b.tcp, []string{"-t", "-u", session.Username, "-w", session.Password}},
		"TCP and the shared secret":   {b.tcp, []string{"-t", "-u", "alice", "-W", testSecret}},
		"TCP and two clients":         {b.tcp, []string{"-t", "-m", "2", "-u", "bob", "-W", testSecret}},
	} {
		args := append([]string{"-c", "-n", "10", "-z", "10", "-p", strconv.Itoa(int(tc.to.Port())), "-e", "127.0.0.1"}, tc.args...)
		to := func(port int) []string { return append(slices.Clone(args), "-r", strconv.Itoa(port), "127.0.0.1") }
		runs.Go(func() {
			out := tool(t, "turnutils_uclient", to(int(b.media.Advertised()[0].Port()))...)
			if lastNumber(t, lost, out) != 0 || lastNumber(t, received, out) < 10 {
				t.Errorf("%s, to the media socket: no full echo:\n%s", name, out)
			}
		})
		runs.Go(func() {
			out := tool(t, "turnutils_uclient", to(sink.LocalAddr().(*net.UDPAddr).Port)...)
			if n := lastNumber(t, received, out); n != 0 {
				t.Errorf("%s, to another port: %d answers:\n%s", name, n, out)
			}
		})
	}
	runs.Wait()
	if n := got.Load(); n < 70 {
		t.Errorf("the media socket got %d datagrams, want at least 70", n)
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("another port of this machine got %d datagrams", n)
	}
	if b.Stats().Dropped["not_media"] == 0 {
		t.Error("no drop was counted: did the tool send anything to the other port?")
	}
}

func TestCoturnClientWithAWrongPasswordAllocatesNothing(t *testing.T) {
	b := start(t, nil)
	tool(t, "turnutils_uclient", "-c", "-n", "1", "-p", strconv.Itoa(int(b.udp.Port())), "-u", "alice", "-W", "not the secret of this server",
		"-e", "127.0.0.1", "-r", strconv.Itoa(int(b.media.Advertised()[0].Port())), "127.0.0.1")
	if s := b.Stats(); s.Created != 0 || s.Denied["integrity"] == 0 {
		t.Errorf("created %d, denied %v", s.Created, s.Denied)
	}
}

func TestSTUNClientLearnsItsAddress(t *testing.T) {
	b := start(t, nil)
	out := tool(t, "turnutils_stunclient", "-p", strconv.Itoa(int(b.udp.Port())), "127.0.0.1")
	if !regexp.MustCompile(`UDP reflexive addr: 127\.0\.0\.1:\d+`).MatchString(out) {
		t.Errorf("no mapped address in:\n%s", out)
	}
}
