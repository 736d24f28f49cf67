package s3store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"consilium/internal/leak"
	"consilium/internal/s3test"
	"consilium/internal/upload"
)

// content returns bytes that never repeat.
func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// put sends an object in parts.
func put(t *testing.T, s *Store, key string, data []byte) (version string, err error) {
	t.Helper()
	id, err := s.Begin(t.Context(), key)
	if err != nil {
		return "", err
	}
	var etags []string
	for from := 0; from < len(data); from += testPart {
		part := io.NewSectionReader(bytes.NewReader(data), int64(from), int64(min(testPart, len(data)-from)))
		etag, err := s.Put(t.Context(), key, id, len(etags)+1, part)
		if err != nil {
			return "", err
		}
		etags = append(etags, etag)
	}
	return s.Complete(t.Context(), key, id, etags)
}

// get reads an object.
func get(t *testing.T, s *Store, key, version string) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), key, version)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestAnObjectOfManyPartsComesBackAsItWas(t *testing.T) {
	leak.Check(t)
	for name, secure := range map[string]bool{"over HTTP": false, "over TLS, with a CA of its own": true} {
		t.Run(name, func(t *testing.T) {
			s := startGateway(t, "", secure).store(func(c *Config) { c.Bandwidth = 1 << 30 })
			data := content(2*testPart + 12345)
			version, err := put(t, s, "a/b.webm", data)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := get(t, s, "a/b.webm", version); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d of %d bytes came back, error %v", len(got), len(data), err)
			}
			for range 2 { // what is gone may be removed
				if err := s.Remove(t.Context(), "a/b.webm", version); err != nil {
					t.Error(err)
				}
			}
			if _, err := get(t, s, "a/b.webm", version); !errors.Is(err, upload.ErrNoObject) {
				t.Errorf("of a removed object: %v", err)
			}
		})
	}
}

func TestUnfinishedUploadsAreListedAndAborted(t *testing.T) {
	s := startGateway(t, "", false).store(nil)
	id, err := s.Begin(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Unfinished(t.Context())
	if err != nil || len(list) != 1 || list[0].Upload != id || list[0].Key != "x" || time.Since(list[0].Begun) > time.Hour {
		t.Errorf("unfinished: %+v, %v", list, err)
	}
	for range 2 { // what is gone may be aborted
		if err := s.Abort(t.Context(), "x", id); err != nil {
			t.Error(err)
		}
	}
	_, err = s.Put(t.Context(), "x", id, 1, io.NewSectionReader(strings.NewReader("x"), 0, 1))
	if !errors.Is(err, upload.ErrNoUpload) {
		t.Errorf("a part of an aborted upload: %v", err)
	}
}

func TestFailuresHaveTheirReasonAndClearWords(t *testing.T) {
	plain, secure := startGateway(t, "", false), startGateway(t, "", true)
	full := startGateway(t, "12m", false)
	for name, c := range map[string]struct {
		gateway *gateway
		change  func(*Config)
		disturb func(http.ResponseWriter, *http.Request) bool
		reason  upload.Reason
		words   string
	}{
		"access key unknown": {plain, func(c *Config) { c.AccessKey = "other" }, nil, upload.Credentials, "recording.s3.access_key"},
		"secret wrong":       {plain, func(c *Config) { c.SecretKey = "wrongwrong" }, nil, upload.Credentials, "recording.s3.secret_key"},
		"bucket missing":     {plain, func(c *Config) { c.Bucket = "missing" }, nil, upload.NoBucket, "the bucket does not exist"},
		"CA not trusted":     {secure, func(c *Config) { c.CA = nil }, nil, upload.Certificate, "recording.s3.ca_file"},
		"nobody listens":     {plain, func(c *Config) { c.Endpoint = "http://127.0.0.1:1" }, nil, upload.Unreachable, "refused"},
		"connection closed":  {plain, nil, s3test.HangUp, upload.Unreachable, "onnection closed"},
		"stalled":            {plain, func(c *Config) { c.Stall = 200 * time.Millisecond }, s3test.Hang, upload.Stalled, "nothing went over the connection for 200ms"},
		"clocks differ":      {plain, nil, refuse("RequestTimeTooSkewed"), upload.Credentials, "differ by more than 15 min"},
		"out of order":       {plain, nil, refuse("InternalError"), upload.Unreachable, "out of order"},
		"disk full":          {full, nil, nil, upload.Full, "the store has no space left"},
	} {
		t.Run(name, func(t *testing.T) {
			c.gateway.Disturb(c.disturb)
			defer c.gateway.Disturb(nil)
			check := c.gateway.store(c.change).Check(t.Context())
			if c.reason != upload.Full && (upload.ReasonOf(check) != c.reason || !strings.Contains(check.Error(), c.words)) {
				t.Errorf("Check: %v", check)
			}
			_, err := put(t, c.gateway.store(c.change), "key", content(3*testPart))
			if upload.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.words) {
				t.Errorf("reason %s, error %v", upload.ReasonOf(err), err)
			}
			t.Log(err)
		})
	}
}

// refuse answers like a store that does not do it.
func refuse(code string) s3test.Disturbance {
	status := http.StatusForbidden
	if code == "InternalError" {
		status = http.StatusInternalServerError
	}
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
		return true
	}
}

func TestKeysAreTakenWhileTheStoreIsInUse(t *testing.T) {
	s := startGateway(t, "", false).store(func(c *Config) { c.SecretKey = "of yesterday" })
	if err := s.Check(t.Context()); upload.ReasonOf(err) != upload.Credentials {
		t.Fatalf("with the wrong secret: %v", err)
	}
	if err := s.SetKeys(s3test.Access, ""); err == nil {
		t.Error("no secret was taken")
	}
	if err := s.SetKeys(s3test.Access, s3test.Secret); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("with the right one: %v", err)
	}
	if _, err := put(t, s, "key", content(1000)); err != nil {
		t.Error(err)
	}
}

func TestANonsensicalConfigurationIsRefused(t *testing.T) {
	good := Config{Endpoint: "https://s3.example.org", Bucket: "b", AccessKey: "a", SecretKey: "s"}
	for name, change := range map[string]func(*Config){
		"no scheme": func(c *Config) { c.Endpoint = "s3.example.org" },
		"no bucket": func(c *Config) { c.Bucket = "" },
		"no secret": func(c *Config) { c.SecretKey = "" },
		"CA":        func(c *Config) { c.CA = []byte("not PEM") },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
