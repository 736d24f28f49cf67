package config

import "testing"

func TestPlainHTTPForOtherMachinesIsRefusedOutsideOfDev(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*Config)
		refused bool
	}{
		"every address":              {func(c *Config) { c.HTTP.Address = []string{":8080"} }, true},
		"an address of the network":  {func(c *Config) { c.HTTP.Address = []string{"127.0.0.1:1", "10.0.0.1:8080"} }, true},
		"loopback":                   {func(c *Config) { c.HTTP.Address = []string{"127.0.0.1:1", "[::1]:1", "localhost:2"} }, false},
		"behind a proxy":             {func(c *Config) { c.HTTP.TrustedProxies = []string{"10.0.0.1/32"} }, false},
		"with certificate files":     {func(c *Config) { c.TLS = TLS{Mode: TLSFiles, CertFile: "c", KeyFile: "k"} }, false},
		"the defaults have no TLS":   {func(*Config) {}, true},
		"with an ACME authority":     {func(c *Config) { c.TLS.Mode = TLSACME }, false},
		"an IPv6 address of the LAN": {func(c *Config) { c.HTTP.Address = []string{"[fd00::1]:80"} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			tc.change(&c)
			problems := c.plainHTTPProblems()
			if got := len(problems) == 1; got != tc.refused {
				t.Fatalf("problems %v, want refused: %v", problems, tc.refused)
			}
			if tc.refused && (problems[0].Key != "http.address" || problems[0].Remedy == "") {
				t.Errorf("got %+v, want http.address with a remedy", problems[0])
			}
		})
	}
	environ := []string{"CONSILIUM_HTTP_ADDRESS=:0", "CONSILIUM_KEYS_MIS_SECRET=" + testSecret}
	if _, err := Load(Sources{Environ: environ, Serve: true}); err == nil {
		t.Error("serve takes plain HTTP on every address")
	}
	if _, err := Load(Sources{Environ: environ, Serve: true, Dev: true}); err != nil {
		t.Errorf("with --dev: %v", err)
	}
	if _, err := Load(Sources{Environ: environ}); err != nil {
		t.Errorf("for a command that does not serve: %v", err)
	}
}
