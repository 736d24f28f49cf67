package config

import (
	"flag"
	"reflect"
	"strings"
)

// Flags collects the keys given on a command line.
type Flags struct {
	settings []setting
}

// RegisterFlags defines a flag on fs for every key, and for the keys.<id>.*
// that occur in args. Parsing fs then fills the Flags for [Load].
func RegisterFlags(fs *flag.FlagSet, args []string) *Flags {
	f := &Flags{}
	c := Default()
	walk(reflect.ValueOf(c), "", func(path string, v reflect.Value) {
		f.register(fs, path, v.Kind() == reflect.Bool)
	})
	for _, arg := range args {
		name := strings.TrimLeft(arg, "-")
		name, _, _ = strings.Cut(name, "=")
		if _, _, ok := splitKeyPath(name); ok && strings.HasPrefix(arg, "-") && fs.Lookup(name) == nil {
			f.register(fs, name, false)
		}
	}
	return f
}

// register defines one flag. A name that fs has already (--data) stays what it
// is: the caller's flag set wins.
func (f *Flags) register(fs *flag.FlagSet, path string, isBool bool) {
	if fs.Lookup(path) == nil {
		fs.Var(&keyFlag{flags: f, path: path, isBool: isBool}, path, "")
	}
}

// keyFlag is the flag of one key.
type keyFlag struct {
	flags  *Flags
	path   string
	isBool bool
}

// String is empty: defaults are the configuration's business.
func (*keyFlag) String() string { return "" }

// IsBoolFlag lets --turn.enabled stand without a value.
func (k *keyFlag) IsBoolFlag() bool { return k.isBool }

// Set notes the value; [Load] judges it, together with all others.
func (k *keyFlag) Set(text string) error {
	k.flags.settings = append(k.flags.settings, setting{path: k.path, form: formText, text: text, where: whereFlag + k.path})
	return nil
}

// Empty reports whether no key was given.
func (f *Flags) Empty() bool { return len(f.settings) == 0 }
