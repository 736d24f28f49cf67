package auth

import (
	"errors"
	"net/http"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/config"
)

func TestAPICredentialsAreAnAdminsTokenOrAKey(t *testing.T) {
	is := newIssuers(t)
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	header := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	admin := ours(t, jwt.MapClaims{"room": "*", "role": "admin"})
	for name, tc := range map[string]struct {
		authorize func(*http.Request)
		reason    Reason // "" if taken
		forbidden bool
	}{
		"admin's token":     {header("Bearer " + admin), "", false},
		"scheme in capital": {header("BEARER " + admin), "", false},
		"API key":           {basic("ours", testSecret), "", false},
		"nothing":           {func(*http.Request) {}, ReasonMissing, false},
		"other scheme":      {header("Digest x"), ReasonMissing, false},
		"patient's token":   {header("Bearer " + ours(t, nil)), ReasonWrongRole, true},
		"garbage":           {header("Bearer x"), ReasonMalformed, false},
		"wrong secret":      {basic("ours", testSecret+"x"), ReasonBadSignature, false},
		"empty secret":      {basic("ours", ""), ReasonBadSignature, false},
		"unknown key":       {basic("foreign", testSecret), ReasonUnknownKey, false},
		"key of the MIS":    {basic("ec", ""), ReasonUnknownKey, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/calls", nil)
			if err != nil {
				t.Fatal(err)
			}
			tc.authorize(r)
			c, err := is.APICredentials(r)
			var refused *Error
			switch {
			case tc.reason == "" && (err != nil || c.Role != RoleAdmin):
				t.Errorf("got %+v, %v, want an admin", c, err)
			case tc.reason != "" && (!errors.As(err, &refused) || refused.Reason != tc.reason || refused.Forbidden() != tc.forbidden):
				t.Errorf("got %v, want %s", err, tc.reason)
			}
		})
	}
}

func TestKeysThatCannotBeUsedStopTheStart(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := dir + "/" + name
		writeFile(t, path, []byte(content))
		return path
	}
	for name, key := range map[string]config.Key{
		"nothing":           {},
		"short secret":      {Secret: "short"},
		"no such file":      {PublicKeyFile: dir + "/none"},
		"not PEM":           {PublicKeyFile: file("a", "hello")},
		"not a public key":  {PublicKeyFile: file("b", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")},
		"JWKS not JSON":     {JWKSFile: file("c", "hello")},
		"JWKS empty":        {JWKSFile: file("d", `{"keys":[]}`)},
		"JWKS of RSA":       {JWKSFile: file("e", `{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"}]}`)},
		"JWKS off curve":    {JWKSFile: file("f", `{"keys":[{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`)},
		"JWKS short x":      {JWKSFile: file("g", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`)},
		"JWKS for sealing":  {JWKSFile: file("h", `{"keys":[{"kty":"OKP","crv":"Ed25519","use":"enc","x":"AAAA"}]}`)},
		"JWKS wrong alg":    {JWKSFile: file("i", `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"HS256","x":"AAAA"}]}`)},
		"JWKS of symmetric": {JWKSFile: file("j", `{"keys":[{"kty":"oct","k":"AAAA"}]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(Config{Keys: map[string]config.Key{"k": key}}); err == nil {
				t.Error("got no error")
			}
		})
	}
}
