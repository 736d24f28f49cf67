package config

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

const secretRemedy = "make one with: openssl rand -hex 32"

// minSecretBytes is the size of SHA-256: a shorter HMAC key is the weaker part
// (RFC 7518, section 3.2).
const minSecretBytes = 32

// secret checks one that may be left out.
func (v *validator) secret(key string, s Secret) {
	if s != "" && len(s) < minSecretBytes {
		v.add(key, fmt.Sprintf("has %d bytes, want at least %d", len(s), minSecretBytes), secretRemedy)
	}
}

func (v *validator) keys(keys map[string]Key) {
	if len(keys) == 0 {
		v.add(keysSection, "is empty: nobody could join", "add keys.<id>.secret; "+secretRemedy)
	}
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		v.key(join(keysSection, id), id, keys[id])
	}
}

func (v *validator) key(path, id string, k Key) {
	if !validKeyID(id) {
		v.add(path, "is not a key id", "take 1 to 64 of A-Z a-z 0-9 . _ ~ -")
	}
	var set []string
	for _, field := range []struct{ name, value string }{
		{"secret", string(k.Secret)}, {"public_key_file", k.PublicKeyFile}, {"jwks_file", k.JWKSFile},
	} {
		if field.value != "" {
			set = append(set, field.name)
		}
	}
	switch len(set) {
	case 0:
		v.add(path, "has nothing to verify with", "give it one of secret, secret_file, public_key_file and jwks_file")
	case 1:
		v.secret(join(path, "secret"), k.Secret)
	default:
		v.add(path, "has "+strings.Join(set, " and "), "leave one: a key is of one kind")
	}
}

func validKeyID(id string) bool {
	return len(id) >= 1 && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alnum && !strings.ContainsRune("._~-", r)
	})
}

// webhookSecret checks a secret of Standard Webhooks 1.0: "whsec_" and 24 to 64
// bytes in base64.
func (v *validator) webhookSecret(s Secret) {
	const key, prefix = "webhook.secret", "whsec_"
	const remedy = `make one with: echo "whsec_$(openssl rand -base64 32)"`
	if s == "" {
		v.add(key, "is empty", "webhooks are signed; "+remedy)
		return
	}
	encoded, ok := strings.CutPrefix(string(s), prefix)
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(raw) < 24 || len(raw) > 64 {
		v.add(key, "is not whsec_ and 24 to 64 bytes in base64", remedy)
	}
}

// url checks an http or https URL; the public one has no path, because links
// are made by appending to it.
func (v *validator) url(key, text string, path bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		v.add(key, "is not a URL", `write it like "https://video.example.org"`)
	case u.User != nil || u.Fragment != "":
		v.add(key, "has a user or a fragment", "remove it")
	case !path && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery):
		v.add(key, fmt.Sprintf("%q has more than scheme, host and port", text), "remove the path and the query: the service is at the root")
	}
}
