package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/config"
	"consilium/internal/event"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// issuers has an Authority and the private keys of the issuers it knows: "ours"
// by secret, "ec" and "ed" by PEM, "set" by JWKS (EdDSA with kid "one", ES256
// with kid "two", and an RSA key that is passed over).
type issuers struct {
	*Authority
	ec     *ecdsa.PrivateKey
	ed     ed25519.PrivateKey
	ecFile string
}

func newIssuers(t testing.TB) issuers {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	jwks, err := json.Marshal(map[string]any{"keys": []jwk{
		{Type: "RSA", ID: "zero"},
		{Type: "OKP", Curve: "Ed25519", ID: "one", X: b64(edPublic)},
		{Type: "EC", Curve: "P-256", ID: "two", Use: "sig", X: b64(point[1:33]), Y: b64(point[33:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ecFile := filepath.Join(dir, "ec.pem")
	writePublicKey(t, ecFile, &ec.PublicKey)
	writePublicKey(t, filepath.Join(dir, "ed.pem"), edPublic)
	writeFile(t, filepath.Join(dir, "set.json"), jwks)
	a, err := New(Config{Keys: map[string]config.Key{
		"ours": {Secret: testSecret},
		"ec":   {PublicKeyFile: ecFile},
		"ed":   {PublicKeyFile: filepath.Join(dir, "ed.pem")},
		"set":  {JWKSFile: filepath.Join(dir, "set.json")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return issuers{Authority: a, ec: ec, ed: ed, ecFile: ecFile}
}

func writePublicKey(t testing.TB, path string, key any) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// good returns claims that are taken, with changes.
func good(changes jwt.MapClaims) jwt.MapClaims {
	claims := jwt.MapClaims{
		"iss": "ours", "sub": "anna", "room": "demo", "role": "patient",
		"exp": time.Now().Add(time.Minute).Unix(),
	}
	for name, value := range changes {
		if value == nil {
			delete(claims, name)
		} else {
			claims[name] = value
		}
	}
	return claims
}

// sign makes a token with any algorithm and key, as a stranger could.
func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims, kid string) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func ours(t testing.TB, changes jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), good(changes), "")
}

func TestTokensOfEveryConfiguredKeyAreTaken(t *testing.T) {
	is := newIssuers(t)
	for name, token := range map[string]string{
		"HS256":                    ours(t, nil),
		"ES256":                    sign(t, jwt.SigningMethodES256, is.ec, good(jwt.MapClaims{"iss": "ec"}), ""),
		"EdDSA":                    sign(t, jwt.SigningMethodEdDSA, is.ed, good(jwt.MapClaims{"iss": "ed"}), ""),
		"JWKS EdDSA":               sign(t, jwt.SigningMethodEdDSA, is.ed, good(jwt.MapClaims{"iss": "set"}), "one"),
		"JWKS ES256":               sign(t, jwt.SigningMethodES256, is.ec, good(jwt.MapClaims{"iss": "set"}), "two"),
		"JWKS without kid":         sign(t, jwt.SigningMethodES256, is.ec, good(jwt.MapClaims{"iss": "set"}), ""),
		"unknown claims":           ours(t, jwt.MapClaims{"aud": []string{"x"}, "scope": 1}),
		"exp within the leeway":    ours(t, jwt.MapClaims{"exp": time.Now().Add(-25 * time.Second).Unix()}),
		"nbf within the leeway":    ours(t, jwt.MapClaims{"nbf": time.Now().Add(25 * time.Second).Unix()}),
		"longest names":            ours(t, jwt.MapClaims{"sub": strings.Repeat("a", 64), "room": strings.Repeat("~", 64)}),
		"name in another alphabet": ours(t, jwt.MapClaims{"name": "Анна Петрова"}),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := is.VerifyJoin(token)
			if err != nil {
				t.Fatal(err)
			}
			if c.Role != RolePatient || c.Subject == "" || c.Room == "" || c.Expires.IsZero() {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestBadTokensAreRefusedWithTheirReason(t *testing.T) {
	is := newIssuers(t)
	ecPEM, err := os.ReadFile(is.ecFile)
	if err != nil {
		t.Fatal(err)
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	genuine := ours(t, nil)
	past, future := time.Now().Add(-31*time.Second).Unix(), time.Now().Add(40*time.Second).Unix()
	for name, tc := range map[string]struct {
		token  string
		reason Reason
	}{
		"nothing":              {"", ReasonMissing},
		"not a JWT":            {"hello", ReasonMalformed},
		"four parts":           {genuine + ".x", ReasonMalformed},
		"too long":             {ours(t, jwt.MapClaims{"x": strings.Repeat("x", MaxTokenBytes)}), ReasonMalformed},
		"sub not a string":     {ours(t, jwt.MapClaims{"sub": 7}), ReasonMalformed},
		"payload not JSON":     {part(`{"alg":"HS256"}`) + "." + part("x") + "." + part("x"), ReasonMalformed},
		"alg none":             {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(nil), ""), ReasonWrongAlgorithm},
		"alg nOnE":             {part(`{"alg":"nOnE"}`) + "." + part(`{"iss":"ours"}`) + ".", ReasonWrongAlgorithm},
		"no alg":               {part(`{}`) + "." + part(`{"iss":"ours"}`) + ".", ReasonWrongAlgorithm},
		"HS512":                {sign(t, jwt.SigningMethodHS512, []byte(testSecret), good(nil), ""), ReasonWrongAlgorithm},
		"public key as secret": {sign(t, jwt.SigningMethodHS256, ecPEM, good(jwt.MapClaims{"iss": "ec"}), ""), ReasonWrongAlgorithm},
		"ES256 for a secret":   {sign(t, jwt.SigningMethodES256, is.ec, good(nil), ""), ReasonWrongAlgorithm},
		"EdDSA for ES256":      {sign(t, jwt.SigningMethodEdDSA, is.ed, good(jwt.MapClaims{"iss": "ec"}), ""), ReasonWrongAlgorithm},
		"unknown issuer":       {ours(t, jwt.MapClaims{"iss": "foreign"}), ReasonUnknownKey},
		"unknown kid":          {sign(t, jwt.SigningMethodEdDSA, is.ed, good(jwt.MapClaims{"iss": "set"}), "three"), ReasonUnknownKey},
		"wrong secret":         {sign(t, jwt.SigningMethodHS256, []byte(testSecret+"x"), good(nil), ""), ReasonBadSignature},
		"changed payload":      {strings.Replace(genuine, genuine[strings.Index(genuine, "."):strings.LastIndex(genuine, ".")], "."+part(`{"iss":"ours","sub":"eve"}`), 1), ReasonBadSignature},
		"no signature":         {genuine[:strings.LastIndex(genuine, ".")+1], ReasonBadSignature},
		"no iss":               {ours(t, jwt.MapClaims{"iss": nil}), ReasonMissingClaim},
		"no sub":               {ours(t, jwt.MapClaims{"sub": nil}), ReasonMissingClaim},
		"no room":              {ours(t, jwt.MapClaims{"room": nil}), ReasonMissingClaim},
		"no role":              {ours(t, jwt.MapClaims{"role": nil}), ReasonMissingClaim},
		"no exp":               {ours(t, jwt.MapClaims{"exp": nil}), ReasonMissingClaim},
		"expired":              {ours(t, jwt.MapClaims{"exp": past}), ReasonExpired},
		"not yet valid":        {ours(t, jwt.MapClaims{"nbf": future}), ReasonNotYetValid},
		"exp beyond time":      {ours(t, jwt.MapClaims{"exp": 1e300}), ReasonBadClaim},
		"exp before time":      {ours(t, jwt.MapClaims{"exp": -1}), ReasonBadClaim},
		"unknown role":         {ours(t, jwt.MapClaims{"role": "king"}), ReasonBadClaim},
		"sub with a space":     {ours(t, jwt.MapClaims{"sub": "a b"}), ReasonBadClaim},
		"sub too long":         {ours(t, jwt.MapClaims{"sub": strings.Repeat("a", 65)}), ReasonBadClaim},
		"room with a slash":    {ours(t, jwt.MapClaims{"room": "../x"}), ReasonBadClaim},
		"room of dots":         {ours(t, jwt.MapClaims{"room": ".."}), ReasonBadClaim},
		"every room":           {ours(t, jwt.MapClaims{"room": "*", "role": "doctor"}), ReasonBadClaim},
		"name with a newline":  {ours(t, jwt.MapClaims{"name": "a\nb"}), ReasonBadClaim},
		"name turned around":   {ours(t, jwt.MapClaims{"name": "a\u202eb"}), ReasonBadClaim},
		"admin joins":          {ours(t, jwt.MapClaims{"room": "*", "role": "admin"}), ReasonWrongRole},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := is.VerifyJoin(tc.token)
			var refused *Error
			if !errors.As(err, &refused) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			wantCode := event.TokenBad
			switch tc.reason {
			case ReasonExpired:
				wantCode = event.TokenExpired
			case ReasonNotYetValid:
				wantCode = event.TokenEarly
			}
			if refused.Reason != tc.reason || refused.Code != wantCode {
				t.Errorf("got %s %q, want %s %q", refused.Code, err, wantCode, tc.reason)
			}
			if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\u202e") {
				t.Errorf("error is not one short line: %q", err)
			}
		})
	}
}

func TestAnIdentityIsKnownBeforeAndAfterTheTokensTime(t *testing.T) {
	is := newIssuers(t)
	expired := ours(t, jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix(), "jti": "x"})
	if c, err := is.VerifyIdentity(expired); err != nil || c.Subject != "anna" {
		t.Errorf("expired: got %+v, %v", c, err)
	}
	early := ours(t, jwt.MapClaims{"nbf": time.Now().Add(30 * time.Minute).Unix()})
	if c, err := is.VerifyIdentity(early); err != nil || c.Subject != "anna" {
		t.Errorf("early: got %+v, %v", c, err)
	}
	is.RevokeToken("x")
	if _, err := is.VerifyIdentity(expired); err == nil {
		t.Error("a revoked token was taken")
	}
	if _, err := is.VerifyIdentity(ours(t, jwt.MapClaims{"role": "admin", "room": "*"})); err == nil {
		t.Error("an admin's token was taken")
	}
}

func TestGrantsFollowTheRoleAndCanOnlyNarrow(t *testing.T) {
	is := newIssuers(t)
	const patient = "publish.audio publish.video subscribe chat files"
	for name, tc := range map[string]struct {
		role   string
		grants any
		want   string
	}{
		"patient":         {"patient", nil, patient},
		"companion":       {"companion", nil, patient},
		"interpreter":     {"interpreter", nil, "publish.audio publish.video subscribe chat"},
		"doctor":          {"doctor", nil, "publish.audio publish.video publish.screen subscribe chat files record admit mute remove end"},
		"observer":        {"observer", nil, "subscribe"},
		"device":          {"device", nil, "publish.audio publish.video"},
		"narrowed":        {"patient", []string{"subscribe", "chat"}, "subscribe chat"},
		"none":            {"doctor", []string{}, ""},
		"not widened":     {"observer", []string{"subscribe", "end", "publish.audio"}, "subscribe"},
		"unknown ignored": {"patient", []string{"chat", "fly"}, "chat"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := is.VerifyJoin(ours(t, jwt.MapClaims{"role": tc.role, "grants": tc.grants}))
			if err != nil || c.Grants.String() != tc.want {
				t.Errorf("got %q, %v, want %q", c.Grants, err, tc.want)
			}
		})
	}
}

func TestMintedTokensSayWhatWasAsked(t *testing.T) {
	is := newIssuers(t)
	want := Claims{
		Subject: "dr.house", Room: "demo", Role: RoleDoctor, Name: "Dr. House", Lang: "en", ID: "id-1",
		Grants: Subscribe | Chat,
	}
	token, err := is.Mint(want, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	got, err := is.VerifyJoin(token)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(got.Expires); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("expires in %v", left)
	}
	want.Issuer, want.Expires, want.IssuedAt = "ours", got.Expires, got.IssuedAt
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestMintRefusesWhatVerifyWould(t *testing.T) {
	is := newIssuers(t)
	for name, tc := range map[string]struct {
		claims Claims
		ttl    time.Duration
	}{
		"bad room":              {Claims{Subject: "a", Room: "a b", Role: RolePatient}, time.Minute},
		"no role":               {Claims{Subject: "a", Room: "a"}, time.Minute},
		"no lifetime":           {Claims{Subject: "a", Room: "a", Role: RolePatient}, 0},
		"issuer without secret": {Claims{Issuer: "ec", Subject: "a", Room: "a", Role: RolePatient}, time.Minute},
		"unknown issuer":        {Claims{Issuer: "x", Subject: "a", Room: "a", Role: RolePatient}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if token, err := is.Mint(tc.claims, tc.ttl); err == nil {
				t.Errorf("got %q, want an error", token)
			}
		})
	}
}

func TestRevokingAPersonLeavesLaterInvitations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := newIssuers(t)
		claims := Claims{Subject: "anna", Room: "demo", Role: RolePatient}
		mint := func() string {
			token, err := is.Mint(claims, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		before, undated := mint(), ours(t, nil)
		time.Sleep(time.Millisecond) // of the bubble's clock
		is.RevokePerson("demo", "anna")
		time.Sleep(time.Millisecond)
		after := mint()
		other := ours(t, jwt.MapClaims{"room": "elsewhere"})
		for name, tc := range map[string]struct {
			token   string
			revoked bool
		}{"before": {before, true}, "undated": {undated, true}, "after": {after, false}, "other room": {other, false}} {
			_, err := is.Verify(tc.token)
			var refused *Error
			if revoked := errors.As(err, &refused) && refused.Reason == ReasonRevoked; revoked != tc.revoked || !revoked && err != nil {
				t.Errorf("%s: got %v, want revoked %v", name, err, tc.revoked)
			}
		}
	})
}

func TestRevocationsAreBounded(t *testing.T) {
	var r revocations
	for i := range maxRevocations + 10 {
		r.add(revocation{id: string(rune(i + 0x10000))})
	}
	if len(r.since) != maxRevocations || len(r.order) != maxRevocations {
		t.Errorf("got %d and %d, want %d", len(r.since), len(r.order), maxRevocations)
	}
	if r.has(Claims{ID: string(rune(0x10000))}) || !r.has(Claims{ID: string(rune(maxRevocations + 9 + 0x10000))}) {
		t.Error("the oldest must be forgotten and the newest kept")
	}
}

func TestReloadReplacesAllKeysOrNone(t *testing.T) {
	is := newIssuers(t)
	token := ours(t, nil)
	if err := is.Reload(Config{Keys: map[string]config.Key{"ours": {PublicKeyFile: "/nonexistent"}}}); err == nil {
		t.Error("an unreadable key was taken")
	}
	if _, err := is.Verify(token); err != nil {
		t.Errorf("after a failed reload: %v", err)
	}
	if err := is.Reload(Config{Keys: map[string]config.Key{"new": {Secret: testSecret}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := is.Verify(token); err == nil {
		t.Error("a token of a removed key was taken")
	}
}

func FuzzVerify(f *testing.F) {
	is := newIssuers(f)
	f.Add(ours(f, nil))
	f.Add(sign(f, jwt.SigningMethodES256, is.ec, good(jwt.MapClaims{"iss": "set", "nbf": 1.5}), "two"))
	f.Add("a.b.c")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := is.VerifyJoin(token)
		var refused *Error
		if err != nil && (!errors.As(err, &refused) || refused.Code == "" || refused.Reason == "") {
			t.Errorf("error %v has no code or reason", err)
		}
		if err == nil && (!Ident(c.Subject) || !Ident(c.Room) || c.Role == RoleAdmin) {
			t.Errorf("took %+v", c)
		}
	})
}

// FuzzClaims fuzzes what only the holder of a key can send.
func FuzzClaims(f *testing.F) {
	is := newIssuers(f)
	f.Add([]byte(`{"iss":"ours","sub":"a","room":"b","role":"patient","exp":4000000000,"grants":["chat"]}`))
	f.Add([]byte(`{"iss":"ours","exp":1e400,"grants":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		signing := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
		signature, err := jwt.SigningMethodHS256.Sign(signing, []byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		c, err := is.VerifyJoin(signing + "." + base64.RawURLEncoding.EncodeToString(signature))
		if err != nil {
			return
		}
		most, known := DefaultGrants(c.Role)
		if !known || !most.Has(c.Grants) || !Ident(c.Subject) || !Ident(c.Room) || c.Expires.Before(time.Now().Add(-Leeway-time.Second)) {
			t.Errorf("took %+v of %q", c, payload)
		}
	})
}
