package config

import (
	_ "embed"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
)

//go:embed config.example.yaml
var example []byte

// Example returns config.example.yaml: every key with its meaning, unit, range
// and default.
func Example() []byte { return slices.Clone(example) }

// Sources is where a configuration comes from; each overrides the one before.
type Sources struct {
	Dev     bool     // start from Dev instead of Default
	File    string   // YAML; "" for none
	Environ []string // NAME=value, as from os.Environ
	Flags   *Flags   // may be nil
	Serve   bool     // check also what only matters to who serves: that browsers will give a camera
}

// Load reads the sources, then the files that secrets are kept in, and
// validates the whole. The error is [Problems].
func Load(src Sources) (Config, error) {
	l := &loader{cfg: Default(), origin: make(map[string]string), file: src.File}
	if src.Dev {
		l.cfg = Dev()
	}
	l.readFile()
	settings, problems := readEnv(src.Environ, slices.Sorted(maps.Keys(l.cfg.Keys)))
	l.apply(settings, problems)
	if src.Flags != nil {
		l.apply(src.Flags.settings, nil)
	}
	l.readSecretFiles()
	if len(l.problems) == 0 {
		l.validate(src)
	}
	return l.cfg, l.problems.orNil()
}

// loader collects settings and what is wrong with them.
type loader struct {
	cfg      Config
	file     string
	origin   map[string]string // where each key was set last, by path
	problems Problems
}

func (l *loader) readFile() {
	if l.file == "" {
		return
	}
	data, err := os.ReadFile(l.file)
	if err != nil {
		l.problems = append(l.problems, Problem{Where: "configuration", What: err.Error(), Remedy: "check --config"})
		return
	}
	settings, problems := readFile(l.file, data)
	l.apply(settings, problems)
}

// apply sets what a source says.
func (l *loader) apply(settings []setting, problems Problems) {
	l.problems = append(l.problems, problems...)
	for _, s := range settings {
		if err := l.cfg.set(s); err != nil {
			p := Problem{Where: s.where, Key: s.path, What: err.Error()}
			if _, _, known := l.cfg.field(s.path); !known {
				p.Remedy = suggest(s.path, meant(s.path), "see config.example.yaml for the keys there are")
			}
			l.problems = append(l.problems, p)
			continue
		}
		l.origin[s.path] = s.where
		l.override(s.path)
	}
}

// override makes a secret and its *_file replace each other when the later one
// comes from a stronger source; both in the same source are a contradiction,
// which validation finds.
func (l *loader) override(path string) {
	other := path + "_file"
	if base, ok := strings.CutSuffix(path, "_file"); ok {
		other = base
	}
	if l.origin[other] == "" || sameSource(l.origin[other], l.origin[path]) {
		return
	}
	if v, done, ok := l.cfg.field(other); ok {
		v.SetZero()
		done()
		delete(l.origin, other)
	}
}

// maxSecretBytes bounds a secret's file: a wrong path must not fill the memory.
const maxSecretBytes = 64 << 10

// readSecretFiles reads every *_file that belongs to a secret.
func (l *loader) readSecretFiles() {
	type secretFile struct{ path, name string }
	var files []secretFile
	walk(reflect.ValueOf(l.cfg), "", func(path string, v reflect.Value) {
		if v.Kind() == reflect.String && v.String() != "" {
			if base, ok := strings.CutSuffix(path, "_file"); ok {
				if of, _, exists := l.cfg.field(base); exists && of.Type() == typeSecret {
					files = append(files, secretFile{path, v.String()})
				}
			}
		}
	})
	for _, f := range files {
		if p := l.readSecretFile(f.path, f.name); p.What != "" {
			p.Where, p.Key = l.origin[f.path], f.path
			l.problems = append(l.problems, p)
		}
	}
}

// readSecretFile sets the secret that belongs to path; the Problem is empty if
// all is well.
func (l *loader) readSecretFile(path, name string) Problem {
	base := strings.TrimSuffix(path, "_file")
	v, done, _ := l.cfg.field(base)
	if v.String() != "" {
		return Problem{What: "and " + base + " are both set", Remedy: "remove one of the two"}
	}
	f, err := os.Open(name)
	if err != nil {
		return Problem{What: err.Error(), Remedy: "name a file that the service may read"}
	}
	defer f.Close() // read only: nothing to lose
	data, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return Problem{What: err.Error(), Remedy: "name a file that the service may read"}
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" || len(data) > maxSecretBytes {
		return Problem{What: fmt.Sprintf("%s has %d bytes", name, len(data)), Remedy: "put the secret into it, and nothing else"}
	}
	v.SetString(secret)
	done()
	return Problem{}
}

// sameSource reports whether two places are in the same source.
func sameSource(a, b string) bool { return sourceOf(a) == sourceOf(b) }

func sourceOf(where string) string {
	for _, source := range []string{whereEnv, whereFlag} {
		if strings.HasPrefix(where, source) {
			return source
		}
	}
	return "file"
}

// validate runs Validate and says where each bad value was set.
func (l *loader) validate(src Sources) {
	problems, _ := l.cfg.Validate().(Problems)
	if !src.Dev {
		problems = append(problems, l.cfg.devKeyProblems()...)
	}
	if src.Serve && !src.Dev {
		problems = append(problems, l.cfg.plainHTTPProblems()...)
	}
	for _, p := range problems {
		p.Where = l.whereOf(p.Key)
		l.problems = append(l.problems, p)
	}
}

// whereOf returns where a key was set, or one of the keys below it.
func (l *loader) whereOf(key string) string {
	if where, ok := l.origin[key]; ok {
		return where
	}
	for _, path := range slices.Sorted(maps.Keys(l.origin)) {
		if strings.HasPrefix(path, key+".") || strings.HasPrefix(path, key+"_file") {
			return l.origin[path]
		}
	}
	return l.file
}

// Dump writes every key with its value, one a line; secrets are not shown.
func (c Config) Dump(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	walk(reflect.ValueOf(c), "", func(path string, v reflect.Value) {
		fmt.Fprintf(tw, "%s\t%s\n", path, valueText(v))
	})
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
