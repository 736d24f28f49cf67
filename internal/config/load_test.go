package config

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// write puts a file into a directory of its own and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flags parses args as serve would.
func flags(t *testing.T, args ...string) *Flags {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := RegisterFlags(fs, args)
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	return f
}

func TestLaterSourcesOverrideEarlierOnes(t *testing.T) {
	file := write(t, "c.yaml", `
keys: {mis: {secret: `+testSecret+`}}
http: {address: [":1001"]}
turn:
  ttl: 20m
  realm: file
calls: {max_calls: 7, waiting_room: off}
recording: {min_free: 5%}
`)
	got, err := Load(Sources{
		File:    file,
		Environ: []string{"HOME=/", "CONSILIUM_TURN_REALM=env", "CONSILIUM_HTTP_ADDRESS=:1002,127.0.0.1:1003", "CONSILIUM_LOG_LEVEL=debug"},
		Flags:   flags(t, "--turn.realm=flag", "--media.lan", "--turn.enabled=false", "--keys.Second.secret", testSecret+"2"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Keys = map[string]Key{"mis": {Secret: testSecret}, "Second": {Secret: testSecret + "2"}}
	want.HTTP.Address = []string{":1002", "127.0.0.1:1003"}
	want.TURN.TTL = 20 * time.Minute
	want.TURN.Realm = "flag"
	want.TURN.Enabled = false
	want.Calls.MaxCalls = 7
	want.Recording.MinFree = Space{Percent: 5}
	want.Log.Level = "debug"
	want.Media.LAN = true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEveryKeyCanBeSetByEachSource(t *testing.T) {
	// What each type of value looks like in YAML and elsewhere.
	forms := map[string][2]string{
		"string": {`"x"`, "x"}, "config.Secret": {`"x"`, "x"}, "int": {"77", "77"}, "bool": {"true", "true"},
		"time.Duration": {"77s", "77s"}, "config.Space": {"7MiB", "7MiB"}, "[]string": {"[x, y]", "x,y"},
	}
	c := Config{Keys: map[string]Key{"mis": {}}}
	walk(reflect.ValueOf(c), "", func(path string, v reflect.Value) {
		t.Run(path, func(t *testing.T) {
			form, ok := forms[v.Type().String()]
			if !ok {
				t.Fatalf("no example for type %v", v.Type())
			}
			var text strings.Builder
			names := strings.Split(path, ".")
			for i, name := range names {
				text.WriteString(strings.Repeat("  ", i) + name + ":")
				if i < len(names)-1 {
					text.WriteString("\n")
				}
			}
			fromFile, problems := readFile("f", []byte(text.String()+" "+form[0]+"\n"))
			fromEnv, more := readEnv([]string{EnvName(path) + "=" + form[1]}, nil)
			if len(problems)+len(more) > 0 {
				t.Fatalf("problems: %v %v", problems, more)
			}
			fromFlag := flags(t, "--"+path+"="+form[1]).settings
			for source, settings := range map[string][]setting{"file": fromFile, "env": fromEnv, "flag": fromFlag} {
				if len(settings) != 1 {
					t.Fatalf("%s: got %d settings, want 1", source, len(settings))
				}
				c := Config{}
				if err := c.set(settings[0]); err != nil {
					t.Fatalf("%s: %v", source, err)
				}
				got, _, _ := c.field(path)
				if text := valueText(got); got.IsZero() || v.Type() != typeSecret && text != form[1] && text != "1m17s" {
					t.Errorf("%s: got %q, want %q", source, text, form[1])
				}
			}
		})
	})
}

func TestBadFilesAreRefusedWithLineAndRemedy(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"unknown key":           {"http:\n  adress: [x]\n", "c.yaml:2: http.adress: unknown key; did you mean http.address?"},
		"unknown section":       {"htp:\n  address: [x]\n", "c.yaml:1: htp: unknown key; did you mean http?"},
		"unknown field of key":  {"keys:\n  mis:\n    secrt: x\n", "c.yaml:3: keys.mis.secrt: unknown key; did you mean keys.mis.secret?"},
		"duplicate key":         {"data: a\nhttp: {}\ndata: b\n", "c.yaml:3: "},
		"number for string":     {"turn:\n  realm: 12\n", "c.yaml:2: turn.realm: want a string; put it in quotes"},
		"string for number":     {"media:\n  udp_port: \"443\"\n", "c.yaml:2: media.udp_port: want a whole number"},
		"fraction for number":   {"media:\n  udp_port: 4.5\n", "c.yaml:2: media.udp_port: want a whole number"},
		"string for bool":       {"turn:\n  enabled: \"true\"\n", "c.yaml:2: turn.enabled: want true or false"},
		"yes for bool":          {"turn:\n  enabled: yes\n", "c.yaml:2: turn.enabled: want true or false"},
		"duration without unit": {"media:\n  timeout: 10\n", `c.yaml:2: media.timeout: want a duration with its unit`},
		"duration of nonsense":  {"media:\n  timeout: soon\n", `c.yaml:2: media.timeout: "soon" is not a duration`},
		"scalar for list":       {"http:\n  address: x\n", "c.yaml:2: http.address: want a list"},
		"number in list":        {"http:\n  address:\n    - 8080\n", "c.yaml:3: http.address: has an item that is not a string"},
		"no value":              {"data:\n", "c.yaml:1: data: has no value"},
		"scalar for section":    {"http: 8080\n", "c.yaml:1: http: is a section"},
		"section for scalar":    {"data:\n  x: y\n", "c.yaml:1: data: want a string"},
		"anchor":                {"data: &a x\n", "c.yaml:1: data: has a value of a kind that is not taken"},
		"merge key":             {"http:\n  <<: {address: [x]}\n", "c.yaml:2: http: "},
		"two documents":         {"data: a\n---\ndata: b\n", "c.yaml:3: a second YAML document"},
		"not YAML":              {"http: [\n", "c.yaml:1: "},
		"space of nonsense":     {"recording:\n  min_free: lots\n", "c.yaml:2: recording.min_free: want bytes"},
		"out of range":          {"keys: {a: {secret: " + testSecret + "}}\nmedia:\n\n  timeout: 90s\n", "c.yaml:4: media.timeout: 1m30s is out of range; take 1s to 1m"},
		"no key for tokens":     {"log: {level: debug}\n", "c.yaml: keys: is empty: nobody could join"},
		"key of --dev":          {"keys:\n  a:\n    secret: " + string(DevSecret) + "\n", "c.yaml:3: keys.a.secret: is the secret of --dev"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, "c.yaml", tc.yaml)
			_, err := Load(Sources{File: file})
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got error %v, want Problems", err)
			}
			got := strings.ReplaceAll(problems[0].String(), file, "c.yaml")
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("got  %s\nwant %s...", got, tc.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
		})
	}
}

func TestUnknownVariablesAreRefusedNamingTheNearest(t *testing.T) {
	for name, tc := range map[string]struct{ variable, want string }{
		"misspelt":     {"CONSILIUM_HTTP_ADRESS=:80", "did you mean CONSILIUM_HTTP_ADDRESS?"},
		"no such":      {"CONSILIUM_X=1", "unset it"},
		"key, no name": {"CONSILIUM_KEYS_SECRET=x", "unknown variable"},
		"wrong type":   {"CONSILIUM_MEDIA_UDP_PORT=many", "environment variable CONSILIUM_MEDIA_UDP_PORT: media.udp_port: want a whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Sources{Dev: true, Environ: []string{tc.variable}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ...%s...", err, tc.want)
			}
		})
	}
}

func TestVariablesOfKeysFindTheConfiguredID(t *testing.T) {
	settings, problems := readEnv([]string{
		"CONSILIUM_KEYS_MY_MIS_SECRET_FILE=f", "CONSILIUM_KEYS_OTHER_SECRET=s",
	}, []string{"My.MIS"})
	var got []string
	for _, s := range settings {
		got = append(got, s.path)
	}
	want := []string{"keys.My.MIS.secret_file", "keys.other.secret"}
	if !slices.Equal(got, want) || len(problems) > 0 {
		t.Errorf("got %v %v, want %v", got, problems, want)
	}
}

func TestSecretsAreReadFromFiles(t *testing.T) {
	secret := write(t, "s", testSecret+"\n")
	t.Run("read and trimmed", func(t *testing.T) {
		c, err := Load(Sources{Environ: []string{"CONSILIUM_KEYS_MIS_SECRET_FILE=" + secret, "CONSILIUM_TURN_SECRET_FILE=" + secret}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Keys["mis"].Secret != testSecret || c.TURN.Secret != testSecret {
			t.Errorf("got %q and %q", string(c.Keys["mis"].Secret), string(c.TURN.Secret))
		}
	})
	t.Run("a stronger source replaces the file", func(t *testing.T) {
		file := write(t, "c.yaml", "keys: {mis: {secret_file: /nonexistent}}")
		c, err := Load(Sources{File: file, Environ: []string{"CONSILIUM_KEYS_MIS_SECRET=" + testSecret}})
		if err != nil || c.Keys["mis"].Secret != testSecret {
			t.Errorf("got %q, %v", string(c.Keys["mis"].Secret), err)
		}
	})
	for name, tc := range map[string]struct{ yaml, want string }{
		"missing file": {"keys: {mis: {secret_file: /nonexistent/x}}", "keys.mis.secret_file: open /nonexistent/x"},
		"empty file":   {"keys: {mis: {secret_file: /dev/null}}", "/dev/null has 0 bytes"},
		"both":         {"keys: {mis: {secret: " + testSecret + ", secret_file: " + secret + "}}", "and keys.mis.secret are both set"},
		"short":        {"keys: {mis: {secret: short}}", "has 5 bytes, want at least 32"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Sources{File: write(t, "c.yaml", tc.yaml)})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ...%s...", err, tc.want)
			}
		})
	}
}

func TestDevPassesValidation(t *testing.T) {
	if _, err := Load(Sources{Dev: true}); err != nil {
		t.Error(err)
	}
}

func TestDumpShowsNoSecret(t *testing.T) {
	c := Dev()
	c.TURN.Secret = testSecret
	c.Webhook.Secret = "whsec_" + testSecret
	var out strings.Builder
	if err := c.Dump(&out); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{string(DevSecret), testSecret} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("dump contains %q", secret)
		}
	}
	for _, path := range append(Paths(), "keys.devkey.secret") {
		if strings.Contains(path, idPlaceholder) {
			continue
		}
		if !strings.Contains(out.String(), path+" ") {
			t.Errorf("dump lacks %s", path)
		}
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add(Example())
	f.Add([]byte("http: {address: [x]}\nkeys:\n  a: {secret: |\n    x\n  }"))
	f.Add([]byte("a: &x\n  b: *x\n---\n? [1]\n: 2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		settings, _ := readFile("f", data)
		c := Default()
		for _, s := range settings {
			if s.where == "" {
				t.Errorf("setting %q does not say where it is", s.path)
			}
			if c.set(s) == nil {
				if v, _, ok := c.field(s.path); !ok || !v.IsValid() {
					t.Errorf("setting %q was taken and is not there", s.path)
				}
			}
		}
	})
}
