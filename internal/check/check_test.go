package check

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"consilium/internal/certs"
	"consilium/internal/config"
)

// wantFinding checks the level, the words and that what is not well has advice.
func wantFinding(t *testing.T, got Finding, level Level, say string) {
	t.Helper()
	if got.Level != level || !strings.Contains(got.Words, say) || (got.Advice != "") != (level != OK) || got.Check == "" {
		t.Errorf("got %+v, want %s and %q", got, level, say)
	}
}

func TestTheClockIsComparedWithWhatCannotBeInTheFuture(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	good := validity{now.Add(-day), now.Add(day)}
	for name, c := range map[string]struct {
		built               time.Time
		leaf                validity
		known, synchronised bool
		level               Level
		say                 string
	}{
		"kept by a time service":     {now.Add(-day), good, true, true, OK, "synchronised"},
		"kept by nobody":             {now.Add(-day), good, true, false, Warning, "nothing synchronises it"},
		"the kernel hides it":        {now.Add(-day), good, false, false, OK, "does not say"},
		"before the program":         {now.Add(2 * day), good, true, true, Error, "before this program"},
		"before the certificate":     {now.Add(-day), validity{now.Add(day), now.Add(2 * day)}, true, true, Error, "before the certificate"},
		"after the certificate":      {now.Add(-day), validity{now.Add(-2 * day), now.Add(-day)}, true, true, Error, "after the certificate"},
		"no certificate, no program": {time.Time{}, validity{}, true, true, OK, "synchronised"},
	} {
		t.Run(name, func(t *testing.T) {
			got := judgeClock(now, c.built, c.leaf, c.known, c.synchronised)
			if len(got) != 1 {
				t.Fatalf("got %+v", got)
			}
			wantFinding(t, got[0], c.level, c.say)
		})
	}
}

func TestSpaceIsComparedWithWhatRecordingNeeds(t *testing.T) {
	const gib = 1 << 30
	two := config.Recording{Enabled: true, MinFree: config.Space{Bytes: 2 * gib}}
	for name, c := range map[string]struct {
		free, total uint64
		recording   config.Recording
		level       Level
	}{
		"plenty":              {100 * gib, 200 * gib, two, OK},
		"soon too little":     {3 * gib, 200 * gib, two, Warning},
		"too little":          {1 * gib, 200 * gib, two, Error},
		"nothing is recorded": {0, 200 * gib, config.Recording{}, OK},
		"a share of the disk": {9 * gib, 200 * gib, config.Recording{Enabled: true, MinFree: config.Space{Percent: 5}}, Error},
	} {
		t.Run(name, func(t *testing.T) {
			wantFinding(t, judgeSpace(c.free, c.total, c.recording), c.level, "GiB free")
		})
	}
}

func TestFileSystemsThatLoseRecordingsAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		kind  int64
		level Level
		say   string
	}{
		"disk":      {unix.EXT4_SUPER_MAGIC, OK, "local"},
		"memory":    {unix.TMPFS_MAGIC, Warning, "in memory"},
		"container": {unix.OVERLAYFS_SUPER_MAGIC, Warning, "container"},
		"NFS":       {unix.NFS_SUPER_MAGIC, Warning, "another machine"},
		"Windows":   {unix.SMB2_SUPER_MAGIC, Warning, "another machine"},
	} {
		t.Run(name, func(t *testing.T) { wantFinding(t, judgeFilesystem(c.kind), c.level, c.say) })
	}
}

func TestLimitsBelowWhatAServerNeedsAreWarnedOf(t *testing.T) {
	wantFinding(t, judgeBuffer("net.core.rmem_max", "212992"), Warning, "212992")
	wantFinding(t, judgeBuffer("net.core.rmem_max", "4194304"), OK, "4194304")
	wantFinding(t, judgeBuffer("net.core.rmem_max", "?"), OK, "?")
	wantFinding(t, judgeFiles(1024), Warning, "1024")
	wantFinding(t, judgeFiles(65536), OK, "65536")
	wantFinding(t, judgeMemory(100<<20), Warning, "100 MiB")
	wantFinding(t, judgeMemory(8<<30), OK, "8192 MiB")
	if n, ok := availableMemory(strings.NewReader("MemTotal: 9 kB\nMemAvailable:   2048 kB\n")); !ok || n != 2<<20 {
		t.Errorf("available memory: %d %v", n, ok)
	}
	if _, ok := availableMemory(strings.NewReader("noise\n")); ok {
		t.Error("there is memory in noise")
	}
}

func TestAddressesThatNobodyOutsideCanReachAreWarnedOf(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("8.8.8.8")}
	for text, level := range map[string]Level{
		"8.8.8.8": OK, "9.9.9.9": OK, "2606:4700::1": OK, "10.1.0.5": OK, // its own
		"10.1.0.6": Warning, "192.168.1.1": Warning, "100.64.3.4": Warning, "255.255.255.255": Warning, "fd00::1": Warning,
	} {
		if got := publicAddress(netip.MustParseAddr(text), own); got.Level != level {
			t.Errorf("%s: %+v, want %s", text, got, level)
		}
	}
	wantFinding(t, offered(own[:1], nil), OK, "set media.public_addresses")
	wantFinding(t, offered(own[:1], []string{"9.9.9.9"}), OK, "seen from outside as 9.9.9.9")
}

// issue makes a certificate of a local authority, and returns its chain and
// that authority's pool.
func issue(t *testing.T, now time.Time) ([]*x509.Certificate, *x509.CertPool) {
	t.Helper()
	a, err := certs.NewAuthority("Hospital", []string{"hospital.example"}, now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(filepath.Join(dir, certs.AuthorityCert))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	leafPEM, _, err := a.Issue([]string{"video.hospital.example"}, certs.MinLifetime, now)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(leafPEM)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{leaf}, pool
}

func TestAChainIsJudgedAsPhonesDo(t *testing.T) {
	now := time.Now()
	chain, pool := issue(t, now)
	wantFinding(t, judgeChain(chain, pool, now), OK, "complete")
	wantFinding(t, judgeChain(chain, x509.NewCertPool(), now), OK, "local authority")
	foreign := *chain[0]
	foreign.Issuer.OrganizationalUnit = nil
	wantFinding(t, judgeChain([]*x509.Certificate{&foreign}, x509.NewCertPool(), now), Warning, "alone")
	wantFinding(t, judgeChain([]*x509.Certificate{&foreign, chain[0]}, x509.NewCertPool(), now), Warning, "no root of this machine")
	self := *chain[0]
	self.Issuer.OrganizationalUnit, self.RawIssuer = nil, self.RawSubject
	wantFinding(t, judgeChain([]*x509.Certificate{&self}, x509.NewCertPool(), now), Warning, "self-signed")
	wantFinding(t, judgeDates(chain[0], now), OK, "days left")
	wantFinding(t, judgeDates(chain[0], chain[0].NotAfter.Add(-20*24*time.Hour)), Warning, "20 days left")
}

func TestTheTableOfSocketsNamesWhatStandsInTheWay(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0100007F:1F92 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: 00000000000000000000000001000000:1F93 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 14 1
noise
   4: XX:1F90 a b c d e f g 15
`
	for name, c := range map[string]struct {
		socket socket
		want   string
	}{
		"the same address":           {socket{"tcp", "127.0.0.1:8080", ""}, "11"},
		"another address":            {socket{"tcp", "10.1.0.5:8080", ""}, ""},
		"we want all of them":        {socket{"tcp", ":8080", ""}, "11"},
		"somebody has all of them":   {socket{"tcp", "10.1.0.5:8081", ""}, "12"},
		"a connection is no hurdle":  {socket{"tcp", "127.0.0.1:8082", ""}, ""},
		"IPv6":                       {socket{"tcp", "[::1]:8083", ""}, "14"},
		"UDP has no listening state": {socket{"udp", "127.0.0.1:8082", ""}, "13"},
		"no port":                    {socket{"tcp", "127.0.0.1", ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(inodes(strings.NewReader(table), c.socket), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestADirectoryThatIsNotThereIsJudgedByTheOneAbove(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if found, made, err := existing(dir); found != dir || !made || err != nil {
		t.Errorf("a directory: %s %v %v", found, made, err)
	}
	if found, made, err := existing(filepath.Join(dir, "a", "b")); found != dir || made || err != nil {
		t.Errorf("none yet: %s %v %v", found, made, err)
	}
	if _, _, err := existing(file); err == nil {
		t.Error("a file is taken for a directory")
	}
	wantFinding(t, judgeKept(dir, dir, true, slowSync), OK, "can be written to")
	wantFinding(t, judgeKept(dir, dir, true, slowSync+1), Warning, "can be written to")
	// How fast the disk of the test is, is not the test's.
	if got := writable(dir, dir, true); got.Level == Error || !strings.Contains(got.Words, "can be written to") {
		t.Errorf("a directory: %+v", got)
	}
	wantFinding(t, writable(filepath.Join(dir, "gone"), dir, true), Error, "can't be written to")
	if left, err := filepath.Glob(filepath.Join(dir, ".consilium-check-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}
