package config

import (
	"net/url"
	"time"
)

// Config is the whole configuration. The zero value is not usable: start from
// [Default], [Dev] or [Load]. Fields stand in the order of
// config.example.yaml, which says what they mean and which values they take.
type Config struct {
	Data      string         `yaml:"data"` // directory of everything that is kept
	HTTP      HTTP           `yaml:"http"`
	TLS       TLS            `yaml:"tls"`
	Log       Log            `yaml:"log"`
	Keys      map[string]Key `yaml:"keys"` // by key id, which is the `iss` of tokens
	Media     Media          `yaml:"media"`
	TURN      TURN           `yaml:"turn"`
	Signaling Signaling      `yaml:"signaling"`
	Calls     Calls          `yaml:"calls"`
	Recording Recording      `yaml:"recording"`
	Webhook   Webhook        `yaml:"webhook"`
	Journal   Journal        `yaml:"journal"`
	Metrics   Metrics        `yaml:"metrics"`
	Limits    Limits         `yaml:"limits"`
}

// HTTP is where the pages, the API and the signalling are served.
type HTTP struct {
	Address        []string `yaml:"address"`         // host:port; an empty host is every address
	PublicURL      string   `yaml:"public_url"`      // scheme://host[:port] as users see it; "": from the request
	TrustedProxies []string `yaml:"trusted_proxies"` // CIDRs whose X-Forwarded-* are believed
}

// PublicHost is the host of PublicURL, without port; "" if none is set.
func (h HTTP) PublicHost() string {
	u, err := url.Parse(h.PublicURL)
	if err != nil {
		return "" // Validate has said so
	}
	return u.Hostname()
}

// TLS is where the certificate of http.address comes from.
type TLS struct {
	Mode          string `yaml:"mode"`           // off, files or acme
	CertFile      string `yaml:"cert_file"`      // PEM, leaf first
	KeyFile       string `yaml:"key_file"`       // PEM
	ACMEEmail     string `yaml:"acme_email"`     // may be empty
	ACMEDirectory string `yaml:"acme_directory"` // "": Let's Encrypt
}

// Log is what is written to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// Key verifies tokens. Exactly one of Secret, PublicKeyFile and JWKSFile is set;
// SecretFile has been read into Secret by [Load].
type Key struct {
	Secret        Secret `yaml:"secret"` // HS256 and the password of the API, >= 32 bytes
	SecretFile    string `yaml:"secret_file"`
	PublicKeyFile string `yaml:"public_key_file"` // PEM, ES256 or EdDSA
	JWKSFile      string `yaml:"jwks_file"`       // JSON Web Key Set, ES256 or EdDSA
}

// Media is how audio and video travel.
type Media struct {
	UDPPort         int           `yaml:"udp_port"`
	TCPPort         int           `yaml:"tcp_port"` // 0: only where http.address listens
	Interfaces      NameFilter    `yaml:"interfaces"`
	Networks        NetworkFilter `yaml:"networks"`
	Families        []string      `yaml:"families"` // ipv4, ipv6
	LAN             bool          `yaml:"lan"`      // advertise IPv6 unique local addresses too
	Loopback        bool          `yaml:"loopback"` // advertise 127.0.0.1 and ::1 too
	PublicAddresses []string      `yaml:"public_addresses"`
	OwnAddresses    bool          `yaml:"own_addresses"` // advertise beside each public address the one it stands for
	ICE             string        `yaml:"ice"`           // auto, lite or full
	Codecs          Codecs        `yaml:"codecs"`
	StartBitrate    int           `yaml:"start_bitrate"` // kbit/s
	MaxBitrate      int           `yaml:"max_bitrate"`   // kbit/s
	Timeout         time.Duration `yaml:"timeout"`
	StallAfter      time.Duration `yaml:"stall_after"`
	Tunnel          Tunnel        `yaml:"tunnel"`
}

// Tunnel is media through the WebSocket, for networks that let only HTTP through.
type Tunnel struct {
	Enabled     bool `yaml:"enabled"`
	MaxSessions int  `yaml:"max_sessions"`
	Bitrate     int  `yaml:"bitrate"` // kbit/s from one page
}

// NameFilter chooses network interfaces by patterns of [path.Match]. An empty
// Include takes all; Exclude wins.
type NameFilter struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
}

// NetworkFilter chooses addresses by CIDR. An empty Include takes all; Exclude
// wins.
type NetworkFilter struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
}

// Codecs are offered in this order.
type Codecs struct {
	Video []string `yaml:"video"` // vp8, vp9, av1, h264
}

// TURN is the embedded relay. The last eight are limits: of one session, and of
// all together.
type TURN struct {
	Enabled              bool          `yaml:"enabled"`
	Mode                 string        `yaml:"mode"`     // closed or open
	UDPPort              int           `yaml:"udp_port"` // 0: any free one
	Realm                string        `yaml:"realm"`
	Secret               Secret        `yaml:"secret"` // "": a random one each start
	SecretFile           string        `yaml:"secret_file"`
	PreviousSecret       Secret        `yaml:"previous_secret"`
	PreviousSecretFile   string        `yaml:"previous_secret_file"`
	TTL                  time.Duration `yaml:"ttl"`
	RelayPorts           string        `yaml:"relay_ports"`            // FIRST-LAST
	RelayAddresses       []string      `yaml:"relay_addresses"`        // empty: of media
	RelayPublicAddresses []string      `yaml:"relay_public_addresses"` // empty: of media
	AllowPeers           []string      `yaml:"allow_peers"`            // CIDRs

	AllocationsPerSession int `yaml:"allocations_per_session"`
	PermissionsPerSession int `yaml:"permissions_per_session"`
	ChannelsPerSession    int `yaml:"channels_per_session"`
	Bandwidth             int `yaml:"bandwidth"` // kbit/s a session and direction
	MaxAllocations        int `yaml:"max_allocations"`
	MaxPermissions        int `yaml:"max_permissions"`
	MaxChannels           int `yaml:"max_channels"`
	MaxBandwidth          int `yaml:"max_bandwidth"` // kbit/s a direction
}

// Signaling limits the WebSocket.
type Signaling struct {
	ResumeWindow      time.Duration `yaml:"resume_window"`
	MessageBytes      int           `yaml:"message_bytes"`
	MessagesPerSecond int           `yaml:"messages_per_second"`
}

// Calls is how calls live and end.
type Calls struct {
	WaitingRoom     string        `yaml:"waiting_room"` // off or patients
	LingerClean     time.Duration `yaml:"linger_clean"`
	LingerLost      time.Duration `yaml:"linger_lost"`
	Unattended      time.Duration `yaml:"unattended"`
	AbsentAfter     time.Duration `yaml:"absent_after"`
	MaxParticipants int           `yaml:"max_participants"` // of one call
	MaxCalls        int           `yaml:"max_calls"`
}

// Recording is how calls are kept.
type Recording struct {
	Enabled  bool  `yaml:"enabled"`
	LowSpace Space `yaml:"low_space"`
	MinFree  Space `yaml:"min_free"`
	Critical Space `yaml:"critical_space"`
	Ballast  Space `yaml:"ballast"`
	// Keep is how long recordings are kept after their call; 0: for ever.
	Keep      time.Duration `yaml:"keep"`
	OnFailure string        `yaml:"on_failure"` // warn or stop
	// PatientPlayback: patients and companions may see the calls they took part in.
	PatientPlayback bool `yaml:"patient_playback"`
	// Recipients are the public keys of age that recordings are sealed to;
	// ServerKeyFile holds the private key of the server's own.
	Recipients    []string `yaml:"recipients"`
	ServerKeyFile string   `yaml:"server_key_file"`
	ShredKeys     bool     `yaml:"shred_keys"` // a call's files open with its own key only
	// FFmpeg composes one picture of a call; "": found in $PATH; off: nothing is
	// composed.
	FFmpeg string `yaml:"ffmpeg"`
	// Work is where it does; "": work, in the data directory.
	Work string `yaml:"work"`
	S3   S3     `yaml:"s3"`
}

// S3 is the object store that keeps copies of recordings.
type S3 struct {
	Endpoint      string        `yaml:"endpoint"` // URL; "": no copies
	Bucket        string        `yaml:"bucket"`
	Prefix        string        `yaml:"prefix"` // of every key
	Region        string        `yaml:"region"`
	AccessKey     string        `yaml:"access_key"`
	SecretKey     Secret        `yaml:"secret_key"`
	SecretKeyFile string        `yaml:"secret_key_file"`
	PathStyle     bool          `yaml:"path_style"`
	CAFile        string        `yaml:"ca_file"`
	PartSize      Space         `yaml:"part_size"`
	Concurrency   int           `yaml:"concurrency"`
	Bandwidth     int           `yaml:"bandwidth"`  // kbit/s each way; 0: no limit
	KeepLocal     time.Duration `yaml:"keep_local"` // 0: for ever
	LateAfter     time.Duration `yaml:"late_after"`
	AllowUnsealed bool          `yaml:"allow_unsealed"`
}

// Webhook tells the medical information system what happens.
type Webhook struct {
	URL        string        `yaml:"url"` // "": no webhook
	Secret     Secret        `yaml:"secret"`
	SecretFile string        `yaml:"secret_file"`
	Timeout    time.Duration `yaml:"timeout"`
	RetryFor   time.Duration `yaml:"retry_for"`
}

// Journal is the timeline of calls.
type Journal struct {
	Keep time.Duration `yaml:"keep"`
}

// Metrics is where Prometheus may read.
type Metrics struct {
	Address string `yaml:"address"` // host:port; "": /metrics of http.address, for admins
}

// Limits protect the server as a whole.
type Limits struct {
	JoinsPerSecond int `yaml:"joins_per_second"`
}

// Values of the keys that take one of a few words.
const (
	TLSOff   = "off"
	TLSFiles = "files"
	TLSACME  = "acme"

	TURNClosed = "closed" // reaches this server's media only
	TURNOpen   = "open"   // reaches public addresses through ports of its own

	ICEAuto = "auto" // lite with public_addresses, else full
	ICELite = "lite"
	ICEFull = "full"

	WaitingRoomOff      = "off"
	WaitingRoomPatients = "patients"

	OnFailureWarn = "warn" // raise an alarm, go on with what can be recorded
	OnFailureStop = "stop" // end the call
)

// The key of `serve --dev`. Everybody knows it: it is refused outside of --dev.
const (
	DevKeyID  = "devkey"
	DevSecret = Secret("devsecretdevsecretdevsecretdevsecret")
)

// Default returns what holds when nothing is configured. It lacks a key for
// tokens, so it does not pass Validate.
func Default() Config {
	return Config{
		Data: "/var/lib/consilium",
		HTTP: HTTP{Address: []string{":443"}},
		TLS:  TLS{Mode: TLSOff},
		Log:  Log{Level: "info", Format: "text"},
		Media: Media{
			UDPPort:      443,
			Interfaces:   NameFilter{Exclude: []string{"docker*", "br-*", "veth*", "virbr*"}},
			Families:     []string{"ipv4", "ipv6"},
			OwnAddresses: true,
			ICE:          ICEAuto,
			Codecs:       Codecs{Video: []string{"vp8"}},
			StartBitrate: 600,
			MaxBitrate:   2500,
			Timeout:      10 * time.Second,
			StallAfter:   3 * time.Second,
			Tunnel:       Tunnel{Enabled: true, MaxSessions: 50, Bitrate: 1500},
		},
		TURN: TURN{
			Enabled:               true,
			Mode:                  TURNClosed,
			UDPPort:               3478,
			Realm:                 "consilium",
			TTL:                   10 * time.Minute,
			RelayPorts:            "49152-49999",
			AllocationsPerSession: 16,
			PermissionsPerSession: 128,
			ChannelsPerSession:    128,
			Bandwidth:             20_000,
			MaxAllocations:        4096,
			MaxPermissions:        65_536,
			MaxChannels:           65_536,
			MaxBandwidth:          1_000_000,
		},
		Signaling: Signaling{
			ResumeWindow:      25 * time.Second,
			MessageBytes:      262144,
			MessagesPerSecond: 50,
		},
		Calls: Calls{
			WaitingRoom:     WaitingRoomOff,
			LingerClean:     5 * time.Second,
			LingerLost:      30 * time.Second,
			Unattended:      time.Hour,
			AbsentAfter:     2 * time.Minute,
			MaxParticipants: 16,
			MaxCalls:        500,
		},
		Recording: Recording{
			Enabled:   true,
			LowSpace:  Space{Percent: 15},
			MinFree:   Space{Percent: 5},
			Critical:  Space{Percent: 1},
			Ballast:   Space{Bytes: 256 << 20},
			OnFailure: OnFailureWarn,
			S3: S3{
				Region: "us-east-1", PathStyle: true, PartSize: Space{Bytes: 16 << 20}, Concurrency: 2, LateAfter: 24 * time.Hour,
			},
		},
		Webhook: Webhook{Timeout: 5 * time.Second, RetryFor: time.Hour},
		Journal: Journal{Keep: 365 * 24 * time.Hour},
		Limits:  Limits{JoinsPerSecond: 50},
	}
}

// Dev returns the configuration of `serve --dev`: plain HTTP on
// 127.0.0.1:8080, which browsers take for a secure context; media on udp/8443
// and tcp/8080, TURN on udp/3478, on loopback and the machine's own addresses;
// a key everybody knows; data in ./data.
func Dev() Config {
	c := Default()
	c.Data = "data"
	c.HTTP.Address = []string{"127.0.0.1:8080"}
	c.Keys = map[string]Key{DevKeyID: {Secret: DevSecret}}
	c.Media.UDPPort = 8443
	c.Media.TCPPort = 8080
	c.Media.LAN = true
	c.Media.Loopback = true
	c.Recording.MinFree = Space{Bytes: 512 << 20} // a laptop is fuller than a server
	c.Recording.Ballast = Space{}
	return c
}
