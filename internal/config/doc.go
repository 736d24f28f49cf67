// Package config is what an administrator can set: one [Config] struct, read
// from defaults, a YAML file, environment variables and flags, each overriding
// the one before.
//
// A key has one dotted path, the same everywhere: `http.address` in the file
// is CONSILIUM_HTTP_ADDRESS in the environment and --http.address on the
// command line. The table of keys is made from the struct by reflection, so
// that none of the three can know a key the others don't. What each key means,
// its unit, range and default stand in config.example.yaml (see [Example]),
// which a test compares with the struct.
//
// Reading is strict. An unknown key, a key given twice, a value of the wrong
// type and a value nobody can use stop the start; the error names the place
// (file and line, variable or flag) and what to do instead.
//
// A Config is a value: once loaded nothing writes to it, and it may be shared
// between goroutines. The package is a leaf: it imports nothing of ours.
package config
