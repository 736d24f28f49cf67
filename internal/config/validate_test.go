package config

import (
	"errors"
	"testing"
	"time"
)

func TestValidateFindsWhatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		key    string
	}{
		"no data directory":             {func(c *Config) { c.Data = "" }, "data"},
		"no address":                    {func(c *Config) { c.HTTP.Address = nil }, "http.address"},
		"address without port":          {func(c *Config) { c.HTTP.Address = []string{"127.0.0.1"} }, "http.address"},
		"address with a name":           {func(c *Config) { c.HTTP.Address = []string{"example.org:80"} }, "http.address"},
		"address twice":                 {func(c *Config) { c.HTTP.Address = []string{":80", ":80"} }, "http.address"},
		"port out of range":             {func(c *Config) { c.HTTP.Address = []string{":70000"} }, "http.address"},
		"public URL without scheme":     {func(c *Config) { c.HTTP.PublicURL = "example.org" }, "http.public_url"},
		"public URL with path":          {func(c *Config) { c.HTTP.PublicURL = "https://example.org/video" }, "http.public_url"},
		"trusted proxy with host bits":  {func(c *Config) { c.HTTP.TrustedProxies = []string{"10.0.0.1/8"} }, "http.trusted_proxies"},
		"TLS mode":                      {func(c *Config) { c.TLS.Mode = "on" }, "tls.mode"},
		"TLS files without certificate": {func(c *Config) { c.TLS = TLS{Mode: TLSFiles, KeyFile: "k"} }, "tls.cert_file"},
		"TLS files without key":         {func(c *Config) { c.TLS = TLS{Mode: TLSFiles, CertFile: "c"} }, "tls.key_file"},
		"certificate and TLS off":       {func(c *Config) { c.TLS.CertFile = "c" }, "tls.cert_file"},
		"TLS and a plain public URL": {func(c *Config) {
			c.TLS = TLS{Mode: TLSFiles, CertFile: "c", KeyFile: "k"}
			c.HTTP.PublicURL = "http://example.org"
		}, "http.public_url"},
		"ACME without public URL":     {func(c *Config) { c.TLS.Mode = TLSACME }, "http.public_url"},
		"ACME for an IP address":      {func(c *Config) { c.TLS.Mode = TLSACME; c.HTTP.PublicURL = "https://192.0.2.1" }, "http.public_url"},
		"ACME with no e-mail address": {func(c *Config) { c.TLS = TLS{Mode: TLSACME, ACMEEmail: "x"}; c.HTTP.PublicURL = "https://example.org" }, "tls.acme_email"},
		"ACME over plain HTTP": {func(c *Config) {
			c.TLS = TLS{Mode: TLSACME, ACMEDirectory: "http://x"}
			c.HTTP.PublicURL = "https://example.org"
		}, "tls.acme_directory"},
		"log level":                  {func(c *Config) { c.Log.Level = "loud" }, "log.level"},
		"log format":                 {func(c *Config) { c.Log.Format = "xml" }, "log.format"},
		"no keys":                    {func(c *Config) { c.Keys = nil }, "keys"},
		"key of two kinds":           {func(c *Config) { c.Keys["a"] = Key{Secret: testSecret, JWKSFile: "x"} }, "keys.a"},
		"key of no kind":             {func(c *Config) { c.Keys["a"] = Key{} }, "keys.a"},
		"key id with a colon":        {func(c *Config) { c.Keys["a:b"] = Key{Secret: testSecret} }, "keys.a:b"},
		"short secret":               {func(c *Config) { c.Keys["a"] = Key{Secret: "0123456789abcdef0123456789abcde"} }, "keys.a.secret"},
		"interface pattern":          {func(c *Config) { c.Media.Interfaces.Include = []string{"eth["} }, "media.interfaces.include"},
		"network without bits":       {func(c *Config) { c.Media.Networks.Exclude = []string{"10.0.0.1"} }, "media.networks.exclude"},
		"network with host bits":     {func(c *Config) { c.Media.Networks.Exclude = []string{"10.0.0.1/8"} }, "media.networks.exclude"},
		"no family":                  {func(c *Config) { c.Media.Families = nil }, "media.families"},
		"family":                     {func(c *Config) { c.Media.Families = []string{"ipx"} }, "media.families"},
		"public address":             {func(c *Config) { c.Media.PublicAddresses = []string{"1.2.3.4:5"} }, "media.public_addresses"},
		"public address on loopback": {func(c *Config) { c.Media.PublicAddresses = []string{"127.0.0.1"} }, "media.public_addresses"},
		"public address, no family":  {func(c *Config) { c.Media.Families = []string{"ipv6"}; c.Media.PublicAddresses = []string{"192.0.2.1"} }, "media.public_addresses"},
		"public address twice":       {func(c *Config) { c.Media.PublicAddresses = []string{"192.0.2.1", "::ffff:192.0.2.1"} }, "media.public_addresses"},
		"nothing but hidden":         {func(c *Config) { c.Media.OwnAddresses = false }, "media.own_addresses"},
		"ICE":                        {func(c *Config) { c.Media.ICE = "light" }, "media.ice"},
		"no codec":                   {func(c *Config) { c.Media.Codecs.Video = nil }, "media.codecs.video"},
		"codec":                      {func(c *Config) { c.Media.Codecs.Video = []string{"vp8", "h265"} }, "media.codecs.video"},
		"codec twice":                {func(c *Config) { c.Media.Codecs.Video = []string{"vp8", "vp8"} }, "media.codecs.video"},
		"start above max":            {func(c *Config) { c.Media.StartBitrate = 3000 }, "media.start_bitrate"},
		"timeout too short":          {func(c *Config) { c.Media.Timeout = 999 * time.Millisecond }, "media.timeout"},
		"timeout too long":           {func(c *Config) { c.Media.Timeout = 61 * time.Second }, "media.timeout"},
		"TURN on the media port":     {func(c *Config) { c.TURN.UDPPort = c.Media.UDPPort }, "turn.udp_port"},
		"realm with a quote":         {func(c *Config) { c.TURN.Realm = `a"b` }, "turn.realm"},
		"TURN secret too short":      {func(c *Config) { c.TURN.Secret = "x" }, "turn.secret"},
		"previous without current":   {func(c *Config) { c.TURN.PreviousSecret = testSecret }, "turn.previous_secret"},
		"TURN mode":                  {func(c *Config) { c.TURN.Mode = "ajar" }, "turn.mode"},
		"relay ports of one":         {func(c *Config) { c.TURN.RelayPorts = "50000" }, "turn.relay_ports"},
		"relay ports backwards":      {func(c *Config) { c.TURN.RelayPorts = "50001-50000" }, "turn.relay_ports"},
		"relay ports below 1024":     {func(c *Config) { c.TURN.RelayPorts = "80-90" }, "turn.relay_ports"},
		"relay ports above 65535":    {func(c *Config) { c.TURN.RelayPorts = "65000-65536" }, "turn.relay_ports"},
		"media among relay ports": {func(c *Config) {
			c.TURN.Mode, c.TURN.RelayPorts = TURNOpen, "8000-9000"
		}, "turn.relay_ports"},
		"relay address with a port":   {func(c *Config) { c.TURN.RelayAddresses = []string{"1.2.3.4:5"} }, "turn.relay_addresses"},
		"two relay addresses":         {func(c *Config) { c.TURN.RelayAddresses = []string{"10.0.0.1", "10.0.0.2"} }, "turn.relay_addresses"},
		"relay address of nobody":     {func(c *Config) { c.TURN.RelayPublicAddresses = []string{"0.0.0.0"} }, "turn.relay_public_addresses"},
		"allowed peer is no network":  {func(c *Config) { c.TURN.AllowPeers = []string{"10.0.0.1"} }, "turn.allow_peers"},
		"no allocations":              {func(c *Config) { c.TURN.MaxAllocations = 0 }, "turn.max_allocations"},
		"no permissions":              {func(c *Config) { c.TURN.PermissionsPerSession = 0 }, "turn.permissions_per_session"},
		"no channels":                 {func(c *Config) { c.TURN.MaxChannels = 0 }, "turn.max_channels"},
		"too much bandwidth":          {func(c *Config) { c.TURN.MaxBandwidth = 100_000_001 }, "turn.max_bandwidth"},
		"resume beyond the call":      {func(c *Config) { c.Signaling.ResumeWindow = 31 * time.Second }, "signaling.resume_window"},
		"messages too small":          {func(c *Config) { c.Signaling.MessageBytes = 100 }, "signaling.message_bytes"},
		"waiting room":                {func(c *Config) { c.Calls.WaitingRoom = "on" }, "calls.waiting_room"},
		"recording failure":           {func(c *Config) { c.Recording.OnFailure = "ignore" }, "recording.on_failure"},
		"webhook scheme":              {func(c *Config) { c.Webhook.URL = "ftp://x"; c.Webhook.Secret = whsec }, "webhook.url"},
		"webhook unsigned":            {func(c *Config) { c.Webhook.URL = "https://x" }, "webhook.secret"},
		"webhook secret not base64":   {func(c *Config) { c.Webhook.URL = "https://x"; c.Webhook.Secret = "whsec_!" }, "webhook.secret"},
		"journal for no time":         {func(c *Config) { c.Journal.Keep = time.Hour }, "journal.keep"},
		"metrics on the HTTP address": {func(c *Config) { c.Metrics.Address = c.HTTP.Address[0] }, "metrics.address"},
		"no joins":                    {func(c *Config) { c.Limits.JoinsPerSecond = 0 }, "limits.joins_per_second"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Dev()
			tc.change(&c)
			var problems Problems
			if err := c.Validate(); !errors.As(err, &problems) {
				t.Fatalf("got error %v, want Problems", err)
			}
			if len(problems) != 1 || problems[0].Key != tc.key || problems[0].Remedy == "" {
				t.Errorf("got %+v, want one of %s with a remedy", problems, tc.key)
			}
		})
	}
}

const whsec = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

func TestValidateTakesWhatCanBeUsed(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"dev":                  func(*Config) {},
		"3 s media timeout":    func(c *Config) { c.Media.Timeout = 3 * time.Second },
		"ports by the kernel":  func(c *Config) { c.HTTP.Address[0] = "127.0.0.1:0"; c.Media.UDPPort, c.TURN.UDPPort = 0, 0 },
		"IPv6 address":         func(c *Config) { c.HTTP.Address = []string{"[::1]:80", "localhost:81"} },
		"webhook":              func(c *Config) { c.Webhook.URL = "http://127.0.0.1:1/hook?x=y"; c.Webhook.Secret = whsec },
		"keys of the MIS":      func(c *Config) { c.Keys["a"] = Key{PublicKeyFile: "x"}; c.Keys["b"] = Key{JWKSFile: "y"} },
		"public URL":           func(c *Config) { c.HTTP.PublicURL = "https://example.org/" },
		"ACME":                 func(c *Config) { c.TLS.Mode = TLSACME; c.HTTP.PublicURL = "https://video.example.org" },
		"certificate files":    func(c *Config) { c.TLS = TLS{Mode: TLSFiles, CertFile: "c", KeyFile: "k"} },
		"own address hidden":   func(c *Config) { c.Media.OwnAddresses = false; c.Media.PublicAddresses = []string{"192.0.2.1"} },
		"reverse proxy":        func(c *Config) { c.HTTP.TrustedProxies = []string{"10.0.0.1/32", "2001:db8::/32"} },
		"same port, TURN off":  func(c *Config) { c.TURN.Enabled = false; c.TURN.UDPPort = c.Media.UDPPort },
		"excluding everything": func(c *Config) { c.Media.Networks.Exclude = []string{"0.0.0.0/0", "::/0"} }, // found at start
	} {
		t.Run(name, func(t *testing.T) {
			c := Dev()
			change(&c)
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDurationsReadAsTheyPrint(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "1h": time.Hour, "1h0m1s": time.Hour + time.Second,
		"30d": 720 * time.Hour, "1.5s": 1500 * time.Millisecond, "10m": 10 * time.Minute,
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want || FormatDuration(got) != text {
			t.Errorf("%s: got %v, %v, printed %s", text, got, err, FormatDuration(got))
		}
	}
	for _, text := range []string{"", "10", "d", "-1d", "1.5d", "9999999d", "1w"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestSpaceReadsAsItPrints(t *testing.T) {
	for text, want := range map[string]Space{
		"0": {}, "1000": {Bytes: 1000}, "2GiB": {Bytes: 2 << 30}, "1536MiB": {Bytes: 1536 << 20}, "5%": {Percent: 5}, "0.5%": {Percent: 0.5},
	} {
		got, err := parseSpace(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %+v, %v, printed %s", text, got, err, got)
		}
	}
	for _, text := range []string{"", "%", "0%", "100%", "NaN%", "-1", "5GB", "9999999999999TiB", "2 GiB"} {
		if got, err := parseSpace(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}
