package contract

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
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/bot"
	"consilium/internal/media"
)

// issuer is a server that trusts three keys: a secret, a PEM file and a key
// set.
type issuer struct {
	*child
	es      *ecdsa.PrivateKey
	public  []byte // PEM of es
	ed      ed25519.PrivateKey
	edOther ed25519.PrivateKey // nobody trusts it
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	dir := t.TempDir()
	i := &issuer{}
	var err error
	if i.es, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&i.es.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	i.public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.ed = private
	if _, i.edOther, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "alg": "EdDSA",
		"x": base64.RawURLEncoding.EncodeToString(pub),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"portal.pem": i.public, "lab.jwks": set}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i.child = serve(t, options{
		"keys.portal.public_key_file": filepath.Join(dir, "portal.pem"),
		"keys.lab.jwks_file":          filepath.Join(dir, "lab.jwks"),
	})
	return i
}

// with signs with any method and key.
func with(t *testing.T, method jwt.SigningMethod, key any, c claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, complete(c))
	if c["iss"] == "lab" {
		token.Header["kid"] = "one"
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// refused tokens, with the code that says why.
func refusedTokens(t *testing.T, i *issuer) map[string][2]string {
	good := sign(t, nil)
	parts := strings.Split(good, ".")
	foreignPayload := strings.Split(sign(t, claims{"sub": "else"}), ".")[1]
	ago, ahead := time.Now().Add(-31*time.Second), time.Now().Add(45*time.Second)
	return map[string][2]string{
		"nothing":                  {"", "TOKEN_BAD unauthorized"},
		"no JWT":                   {"abc", "TOKEN_BAD"},
		"another secret":           {with(t, jwt.SigningMethodHS256, []byte("some other secret that is long enough"), nil), "TOKEN_BAD"},
		"payload of another token": {parts[0] + "." + foreignPayload + "." + parts[2], "TOKEN_BAD"},
		"cut signature":            {good[:len(good)-4], "TOKEN_BAD"},
		"no signature":             {parts[0] + "." + parts[1] + ".", "TOKEN_BAD"},
		"alg none":                 {with(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), "TOKEN_BAD"},
		"HS384":                    {with(t, jwt.SigningMethodHS384, []byte(keySecret), nil), "TOKEN_BAD"},
		"HS512":                    {with(t, jwt.SigningMethodHS512, []byte(keySecret), nil), "TOKEN_BAD"},
		"HMAC with the public key": {with(t, jwt.SigningMethodHS256, i.public, claims{"iss": "portal"}), "TOKEN_BAD"},
		"ES256 for a secret's key": {with(t, jwt.SigningMethodES256, i.es, nil), "TOKEN_BAD"},
		"EdDSA of a stranger":      {with(t, jwt.SigningMethodEdDSA, i.edOther, claims{"iss": "lab"}), "TOKEN_BAD"},
		"unknown key":              {sign(t, claims{"iss": "nobody"}), "TOKEN_BAD"},
		"expired 31 s ago":         {sign(t, claims{"exp": ago.Unix()}), "TOKEN_EXPIRED"},
		"not yet valid":            {sign(t, claims{"nbf": ahead.Unix()}), "TOKEN_EARLY"},
		"without iss":              {sign(t, claims{"iss": nil}), "TOKEN_BAD"},
		"without sub":              {sign(t, claims{"sub": nil}), "TOKEN_BAD"},
		"without room":             {sign(t, claims{"room": nil}), "TOKEN_BAD"},
		"without role":             {sign(t, claims{"role": nil}), "TOKEN_BAD"},
		"without exp":              {sign(t, claims{"exp": nil}), "TOKEN_BAD"},
		"unknown role":             {sign(t, claims{"role": "king"}), "TOKEN_BAD"},
		"all rooms for a patient":  {sign(t, claims{"room": "*"}), "TOKEN_BAD"},
		"long identity":            {sign(t, claims{"sub": strings.Repeat("a", 65)}), "TOKEN_BAD"},
		"identity with a slash":    {sign(t, claims{"sub": "a/b"}), "TOKEN_BAD"},
		"room with a space":        {sign(t, claims{"room": "a b"}), "TOKEN_BAD"},
		"exp as text":              {sign(t, claims{"exp": "tomorrow"}), "TOKEN_BAD"},
		"huge":                     {sign(t, claims{"more": strings.Repeat("x", 9<<10)}), "TOKEN_BAD"},
		"admin of all rooms":       {sign(t, claims{"role": "admin", "room": "*"}), "TOKEN_BAD"},
		"admin of the room":        {sign(t, claims{"role": "admin"}), "TOKEN_BAD"},
	}
}

func TestBadTokensNeitherJoinNorPublish(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	for name, c := range refusedTokens(t, i) {
		token, codes := c[0], strings.Fields(c[1])
		status := http.StatusUnauthorized
		if strings.HasPrefix(name, "admin") {
			status = http.StatusForbidden
		}
		a := i.ask("POST", "/whip/room", bearer(token), "v=0\r\n", "Content-Type: application/sdp")
		a.wantProblem(t, name+" at /whip", status, codes...)
		s := i.socket()
		got := s.hello(token)
		if got.Type != "error" || !got.fatal() || !slices.Contains(codes, got.code()) {
			t.Errorf("%s at /ws: got %s %s, want a fatal error %q", name, got.Type, got.Body, codes)
		}
		s.close()
	}
	told := map[string]int{}
	for _, e := range i.events() {
		told[e.Code]++
		switch {
		case e.Type != "participant.failed" || e.Call != "":
			t.Errorf("a refused token left %s of call %q in the feed", e.Type, e.Call)
		case e.Code == "TOKEN_BAD" && e.Room+e.Participant != "":
			t.Errorf("a token that nobody vouches for names %q in room %q", e.Participant, e.Room)
		case e.Code != "TOKEN_BAD" && (e.Room == "" || e.Participant == ""):
			t.Errorf("%s names nobody", e.Code)
		}
	}
	// Each is refused twice above, and told once.
	if told["TOKEN_BAD"] == 0 || told["TOKEN_BAD"] > 20 || told["TOKEN_EXPIRED"] != 1 || told["TOKEN_EARLY"] != 1 {
		t.Errorf("told %v", told)
	}
}

func TestGoodTokensOfEveryKeyJoin(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	now := time.Now()
	for name, token := range map[string]string{
		"HS256":                      sign(t, nil),
		"ES256":                      with(t, jwt.SigningMethodES256, i.es, claims{"iss": "portal"}),
		"EdDSA of a set":             with(t, jwt.SigningMethodEdDSA, i.ed, claims{"iss": "lab"}),
		"expired within the leeway":  sign(t, claims{"exp": now.Add(-20 * time.Second).Unix()}),
		"valid within the leeway":    sign(t, claims{"nbf": now.Add(20 * time.Second).Unix()}),
		"with claims of other uses":  sign(t, claims{"aud": "x", "custom": map[string]any{"a": 1}}),
		"with everything optional":   sign(t, claims{"name": "Ann", "lang": "ru", "jti": "1", "nbf": now.Unix(), "iat": now.Unix()}),
		"with the oddest characters": sign(t, claims{"sub": "a~b._-Z9", "room": "~r.o_o-m"}),
		"with the longest identity":  sign(t, claims{"sub": strings.Repeat("i", 64), "room": strings.Repeat("r", 64)}),
	} {
		s := i.socket()
		if got := s.hello(token); got.Type != "welcome" {
			t.Errorf("%s: got %s %s, want welcome", name, got.Type, got.Body)
		}
		s.close()
	}
}

func TestRolesHaveTheGrantsOfTheTable(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	patient := []string{"publish.audio", "publish.video", "subscribe", "chat", "files"}
	for name, want := range map[string]struct {
		claims claims
		grants []string
	}{
		"patient":     {nil, patient},
		"companion":   {nil, patient},
		"interpreter": {nil, []string{"publish.audio", "publish.video", "subscribe", "chat"}},
		"doctor":      {nil, append(slices.Clone(patient), "publish.screen", "record", "admit", "mute", "remove", "end")},
		"observer":    {nil, []string{"subscribe"}},
		"device":      {nil, []string{"publish.audio", "publish.video"}},
		"narrowed":    {claims{"role": "doctor", "grants": []string{"subscribe", "end"}}, []string{"subscribe", "end"}},
		"widened":     {claims{"role": "observer", "grants": []string{"subscribe", "end", "fly"}}, []string{"subscribe"}},
		"emptied":     {claims{"role": "doctor", "grants": []string{}}, nil},
	} {
		who := claims{"role": name, "sub": name}
		if want.claims != nil {
			who = want.claims
		}
		s := c.socket()
		got := s.hello(sign(t, who))
		var welcome struct{ Grants []string }
		if err := json.Unmarshal(got.Body, &welcome); err != nil || got.Type != "welcome" {
			t.Errorf("%s: got %s %s: %v", name, got.Type, got.Body, err)
		}
		slices.Sort(welcome.Grants)
		slices.Sort(want.grants)
		if !slices.Equal(welcome.Grants, want.grants) {
			t.Errorf("%s has %q, want %q", name, welcome.Grants, want.grants)
		}
		s.close()
	}
}

func TestGrantsHoldForWHIPAndWHEP(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	observer := bearer(joinToken(t, "room", "watcher", "observer"))
	device := bearer(joinToken(t, "room", "camera", "device"))
	sdp := "Content-Type: application/sdp"
	c.ask("POST", "/whip/room", observer, "v=0", sdp).wantProblem(t, "observer publishes", 403, "forbidden")
	c.ask("POST", "/whep/room/camera", device, "v=0", sdp).wantProblem(t, "device plays", 403, "forbidden")
	c.ask("POST", "/whip/other", device, "v=0", sdp).wantProblem(t, "device publishes elsewhere", 403, "forbidden")
	c.ask("POST", "/whep/other/camera", observer, "v=0", sdp).wantProblem(t, "observer plays elsewhere", 403, "forbidden")

	// A grant that is missing for one of the tracks of an offer.
	ctx := within(t, 20*time.Second)
	muted := sign(t, claims{"sub": "mute", "role": "device", "grants": []string{"publish.video"}})
	_, err := bot.WHIP(ctx, bot.HTTPConfig{Room: "room", Config: bot.Config{URL: c.URL, Token: muted}})
	wantStatus(t, "microphone without the grant", err, http.StatusForbidden)
	_, err = bot.WHIP(ctx, bot.HTTPConfig{Room: "room", Config: bot.Config{
		URL: c.URL, Token: joinToken(t, "room", "camera", "device"),
		Publish: []media.Source{media.Camera, media.Screen},
	}})
	wantStatus(t, "screen without the grant", err, http.StatusForbidden)
}

func wantStatus(t *testing.T, what string, err error, status int) {
	t.Helper()
	var refused *bot.StatusError
	if !errors.As(err, &refused) || refused.Status != status {
		t.Errorf("%s: got %v, want status %d", what, err, status)
	}
}
