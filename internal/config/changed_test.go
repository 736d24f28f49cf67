package config

import (
	"slices"
	"testing"
)

func TestChangedNamesTheKeysThatDiffer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"nothing":       {func(*Config) {}, nil},
		"a value":       {func(c *Config) { c.Log.Level = "debug" }, []string{"log.level"}},
		"a list":        {func(c *Config) { c.HTTP.Address = []string{":443", ":80"} }, []string{"http.address"}},
		"empty and nil": {func(c *Config) { c.HTTP.TrustedProxies = []string{} }, nil},
		"a new key":     {func(c *Config) { c.Keys = map[string]Key{"mis": {Secret: "x"}} }, keysOf("mis")},
		"several": {func(c *Config) { c.Data, c.Recording.Enabled, c.TURN.Secret = "d", false, "s" },
			[]string{"data", "recording.enabled", "turn.secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			next := Default()
			c.change(&next)
			if got := Changed(Default(), next); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := Changed(next, Default()); !slices.Equal(got, c.want) {
				t.Errorf("the other way round: got %q, want %q", got, c.want)
			}
		})
	}
}

// keysOf are the paths of one key's fields, sorted.
func keysOf(id string) []string {
	var paths []string
	for _, field := range keyFields() {
		paths = append(paths, "keys."+id+"."+field)
	}
	slices.Sort(paths)
	return paths
}
