package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/config"
	"consilium/recorder"
)

// binary is the program under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "consilium-cli")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "consilium")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// result is what a run of the binary left.
type result struct {
	code           int
	stdout, stderr string
}

// consilium runs the binary in a directory of its own, with no CONSILIUM_*
// variables but those given.
func consilium(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TZ=UTC"}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %q: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// devAuthority verifies tokens of --dev.
func devAuthority(t *testing.T) *auth.Authority {
	t.Helper()
	a, err := auth.New(auth.Config{Keys: config.Dev().Keys})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFailuresAreOneLineWithTheRightExitCode(t *testing.T) {
	bad := writeConfig(t, "htp: {}\n")
	for name, tc := range map[string]struct {
		args []string
		env  []string
		code int
		want string // part of the line
	}{
		"no command":              {nil, nil, exitUsage, "consilium help"},
		"unknown command":         {[]string{"srve"}, nil, exitUsage, `no command "srve"`},
		"half a command":          {[]string{"recordings"}, nil, exitUsage, "consilium help recordings"},
		"unknown subcommand":      {[]string{"recordings", "burn"}, nil, exitUsage, "consilium help recordings"},
		"unknown flag":            {[]string{"token", "--rom", "x"}, nil, exitUsage, "there is no flag --rom"},
		"flag without value":      {[]string{"token", "--room"}, nil, exitUsage, "a value is missing after --room"},
		"token without room":      {[]string{"token", "--dev", "--identity", "a"}, nil, exitUsage, "--room is missing"},
		"token without identity":  {[]string{"token", "--dev", "--room", "a"}, nil, exitUsage, "--identity is missing"},
		"token of unknown role":   {[]string{"token", "--dev", "--room", "a", "--identity", "a", "--role", "king"}, nil, exitUsage, `no role "king"`},
		"token for every room":    {[]string{"token", "--dev", "--room", "*", "--identity", "a"}, nil, exitUsage, "--role admin only"},
		"token for a bad room":    {[]string{"token", "--dev", "--room", "a/b", "--identity", "a"}, nil, exitUsage, "A-Z a-z 0-9"},
		"token with bad lifetime": {[]string{"token", "--dev", "--room", "a", "--identity", "a", "--ttl", "soon"}, nil, exitUsage, "not a duration"},
		"token with bad URL":      {[]string{"token", "--dev", "--room", "a", "--identity", "a", "--url", "x"}, nil, exitUsage, "https://"},
		"token without a source":  {[]string{"token", "--room", "a", "--identity", "a"}, nil, exitUsage, "--config FILE"},
		"token, stray argument":   {[]string{"token", "--dev", "x"}, nil, exitUsage, `unexpected argument "x"`},
		"serve without a source":  {[]string{"serve"}, nil, exitUsage, "--dev"},
		"serve, file missing":     {[]string{"serve", "--config", "/nonexistent"}, nil, exitFailed, "/nonexistent"},
		"serve, bad file":         {[]string{"serve", "--config", bad}, nil, exitFailed, bad + ":1: htp: unknown key; did you mean http"},
		"serve, bad variable":     {[]string{"serve", "--dev"}, []string{"CONSILIUM_DTA=x"}, exitFailed, "did you mean CONSILIUM_DATA?"},
		"serve, bad flag value":   {[]string{"serve", "--dev", "--media.timeout", "2m"}, nil, exitFailed, "flag --media.timeout: media.timeout: 2m is out of range; take 1s to 1m"},
		"show without id":         {[]string{"recordings", "show"}, nil, exitUsage, "want one ID"},
		"show what is not there":  {[]string{"recordings", "show", "x", "--data", "."}, nil, exitFailed, "no recording \"x\""},
		"list where nothing is":   {[]string{"recordings", "list", "--data", "/nonexistent"}, nil, exitFailed, "--data DIR"},
		"probe of no URL":         {[]string{"probe", "--token", "t"}, nil, exitUsage, "probe: want one URL"},
		"load of no URL":          {[]string{"load", "--dev"}, nil, exitUsage, "load: want one URL"},
		"verify where nothing is": {[]string{"recordings", "verify", "--data", "/nonexistent"}, nil, exitFailed, "--data DIR"},
		"verify of nothing":       {[]string{"recordings", "verify", "x", "--data", "."}, nil, exitFailed, "recording x"},
		"export without --out":    {[]string{"recordings", "export", "x"}, nil, exitUsage, "--out DIR"},
		"repair where nothing is": {[]string{"recordings", "repair", "--data", "/nonexistent"}, nil, exitFailed, "--data DIR"},
		"a key that is none":      {[]string{"recordings", "verify", "--data", ".", "--identity", bad}, nil, exitFailed, "AGE-SECRET-KEY-1"},
		"key where nothing is":    {[]string{"recordings", "key", "--data", "."}, nil, exitFailed, "--data DIR"},
		"check of nothing usable": {[]string{"check", "--config", bad}, nil, exitFailed, "unknown key"},
	} {
		t.Run(name, func(t *testing.T) {
			got := consilium(t, tc.env, tc.args...)
			if got.code != tc.code || got.stdout != "" {
				t.Errorf("got exit code %d and stdout %q, want %d and nothing", got.code, got.stdout, tc.code)
			}
			if strings.Count(got.stderr, "\n") != 1 || !strings.HasPrefix(got.stderr, "consilium: ") || !strings.Contains(got.stderr, tc.want) {
				t.Errorf("got stderr %q, want one line with %q", got.stderr, tc.want)
			}
		})
	}
}

func TestTokenPrintsATokenAndNothingElse(t *testing.T) {
	got := consilium(t, nil, "token", "--dev", "--room", "demo", "--identity", "dr.house",
		"--name", "Dr. House", "--role", "doctor", "--ttl", "2h", "--lang", "en")
	if got.code != exitDone || got.stderr != "" {
		t.Fatalf("got %+v", got)
	}
	token, ok := strings.CutSuffix(got.stdout, "\n")
	if !ok || strings.ContainsAny(token, " \n") {
		t.Fatalf("got stdout %q, want a token and a newline", got.stdout)
	}
	c, err := devAuthority(t).VerifyJoin(token)
	if err != nil {
		t.Fatal(err)
	}
	if c.Issuer != config.DevKeyID || c.Subject != "dr.house" || c.Room != "demo" || c.Role != auth.RoleDoctor || c.Name != "Dr. House" || c.Lang != "en" {
		t.Errorf("got %+v", c)
	}
	if left := time.Until(c.Expires); left < 119*time.Minute || left > 120*time.Minute {
		t.Errorf("expires in %v, want 2 h", left)
	}
}

func TestTokenDefaultsToAPatientForTenMinutes(t *testing.T) {
	got := consilium(t, nil, "token", "--dev", "--room", "demo", "--identity", "anna")
	c, err := devAuthority(t).VerifyJoin(strings.TrimSpace(got.stdout))
	if err != nil {
		t.Fatalf("%v; stderr %q", err, got.stderr)
	}
	if left := time.Until(c.Expires); c.Role != auth.RolePatient || left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("got %+v, expires in %v", c, left)
	}
}

func TestTokenPrintsALink(t *testing.T) {
	got := consilium(t, nil, "token", "--dev", "--room", "demo", "--identity", "anna", "--url", "https://video.example.org/")
	token, ok := strings.CutPrefix(strings.TrimSpace(got.stdout), "https://video.example.org/r/demo#")
	if !ok {
		t.Fatalf("got %+v", got)
	}
	if _, err := devAuthority(t).VerifyJoin(token); err != nil {
		t.Error(err)
	}
}

func TestTokenForTheAPINeedsNoIdentity(t *testing.T) {
	got := consilium(t, nil, "token", "--dev", "--room", "*", "--role", "admin")
	c, err := devAuthority(t).Verify(strings.TrimSpace(got.stdout))
	if err != nil || c.Role != auth.RoleAdmin || c.Room != auth.AllRooms {
		t.Errorf("got %+v, %v; stderr %q", c, err, got.stderr)
	}
}

func TestTokenSignsWithTheConfiguredKey(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	file := writeConfig(t, "keys: {mis: {secret: "+secret+"}}\n")
	a, err := auth.New(auth.Config{Keys: map[string]config.Key{"mis": {Secret: secret}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]result{
		"file":        consilium(t, nil, "token", "--config", file, "--room", "r", "--identity", "i"),
		"environment": consilium(t, []string{"CONSILIUM_KEYS_MIS_SECRET=" + secret}, "token", "--room", "r", "--identity", "i"),
	} {
		if c, err := a.VerifyJoin(strings.TrimSpace(run.stdout)); err != nil || c.Issuer != "mis" {
			t.Errorf("%s: got %+v, %v; stderr %q", name, c, err, run.stderr)
		}
	}
}

func TestRecordingsPrintForPeopleAndMachines(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "recordings", "0123456789abcdef")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := started.Add(90 * time.Second)
	manifest := recorder.Manifest{
		Version: recorder.ManifestVersion, Call: "0123456789abcdef", Room: "demo", State: recorder.Final, Started: started, Ended: &ended,
		ExternalID: "visit\x1b7", Participants: []recorder.Participant{{Number: 1, Identity: "anna"}},
		Segments: []recorder.Segment{{
			File: "p1-mic-1.webm", Participant: "anna", Source: "mic", Codec: "opus", State: recorder.Final,
			T0MS: 250, DurationMS: 60_500, Bytes: 3 << 20, Packets: 99, PacketsLost: 1,
		}},
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}

	var list []recorder.Summary
	got := consilium(t, nil, "recordings", "list", "--data", data, "--json")
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || len(list) != 1 || list[0].ID != manifest.Call || list[0].Files != 1 {
		t.Errorf("list --json: got %+v, %v", got, err)
	}
	var shown recorder.Manifest
	got = consilium(t, nil, "recordings", "show", manifest.Call, "--json", "--data", data)
	if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || shown.Room != "demo" || len(shown.Segments) != 1 {
		t.Errorf("show --json: got %+v, %v", got, err)
	}
	for command, want := range map[string][]string{
		"list": {manifest.Call, "demo", "2026-01-02 03:04:05", "1m30s", "3.0 MiB", "final"},
		"show": {`"visit\x1b7"`, "p1-mic-1.webm", "anna", "opus", "0.250s", "60.500s", "1.00%"},
	} {
		args := []string{"recordings", command}
		if command == "show" {
			args = append(args, manifest.Call)
		}
		got := consilium(t, []string{"CONSILIUM_DATA=" + data}, args...)
		for _, part := range want {
			if !strings.Contains(got.stdout, part) {
				t.Errorf("%s lacks %q: %+v", command, part, got)
			}
		}
	}
}

func TestCheckPrintsTheConfigurationWithoutSecrets(t *testing.T) {
	got := consilium(t, nil, "check", "--print", "--dev", "--log.level=debug")
	if got.code != exitDone || !strings.Contains(got.stdout, "log.level ") || !strings.Contains(got.stdout, "debug") {
		t.Errorf("got %+v", got)
	}
	if strings.Contains(got.stdout, string(config.DevSecret)) {
		t.Error("the secret is printed")
	}
}

func TestCheckPrintsEveryProblemOnALine(t *testing.T) {
	got := consilium(t, nil, "check", "--dev", "--log.level=loud", "--media.timeout=2m")
	if got.code != exitFailed || strings.Count(got.stderr, "\n") != 2 {
		t.Errorf("got %+v, want two lines", got)
	}
}

func TestTheExampleIsPrintedAndBecomesUsableWithAKeyAndHTTPS(t *testing.T) {
	example := consilium(t, nil, "check", "--example").stdout
	if example != string(config.Example()) {
		t.Fatal("got something else than the example")
	}
	file := writeConfig(t, example)
	key := "CONSILIUM_KEYS_MIS_SECRET=0123456789abcdef0123456789abcdef"
	if got := consilium(t, []string{key}, "check", "--config", file); got.code != exitFailed || !strings.Contains(got.stderr, "set tls.mode to files or acme") {
		t.Errorf("plain HTTP on every address: got %+v", got)
	}
	got := consilium(t, []string{key, "CONSILIUM_HTTP_TRUSTED_PROXIES=127.0.0.1/32"}, "check", "--print", "--config", file)
	if got.code != exitDone {
		t.Errorf("got %+v", got)
	}
}

func TestVersionIsOneLine(t *testing.T) {
	got := consilium(t, nil, "version")
	if got.code != exitDone || !strings.HasPrefix(got.stdout, "consilium ") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestHelpIsPrintedOnRequest(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"help", "token"}, {"token", "-h"}, {"recordings", "list", "--help"}, {"help", "recordings"}} {
		got := consilium(t, nil, args...)
		if got.code != exitDone || !strings.HasPrefix(got.stdout, "usage: consilium ") || got.stderr != "" {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}
