package turn

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// signWith returns a credential with any username.
func signWith(secret, name string) Credential {
	return Credential{Username: name, Password: password(secret, name)}
}

func TestOnlyOurUnexpiredCredentialsAllocate(t *testing.T) {
	b := start(t, nil)
	b.ended.Store("gone", true)
	in := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	tests := map[string]struct {
		cred Credential
		want int
	}{
		"of a session":           {b.mint(t, Session, "s1"), 0},
		"of a user":              {b.mint(t, User, "alice"), 0},
		"signed by the MIS":      {signWith(testSecret, in(time.Hour)+":mis"), 0},
		"expired":                {signWith(testSecret, in(-time.Minute)+":alice"), 401},
		"expired session":        {signWith(testSecret, in(-time.Minute)+":+s1"), 401},
		"of an ended session":    {b.mint(t, Session, "gone"), 401},
		"forged":                 {signWith("some other secret entirely", in(time.Hour)+":alice"), 401},
		"of the year 9999":       {signWith("some other secret entirely", "253370764800:alice"), 401},
		"password of another":    {Credential{Username: in(time.Hour) + ":alice", Password: b.mint(t, User, "bob").Password}, 401},
		"no colon":               {signWith(testSecret, in(time.Hour)), 401},
		"two colons":             {signWith(testSecret, in(time.Hour)+":a:b"), 401},
		"empty id":               {signWith(testSecret, in(time.Hour)+":"), 401},
		"no number":              {signWith(testSecret, "soon:alice"), 401},
		"negative":               {signWith(testSecret, "-1:alice"), 401},
		"huge number":            {signWith(testSecret, "9999999999999:alice"), 401},
		"id too long":            {signWith(testSecret, in(time.Hour)+":"+strings.Repeat("a", 65)), 401},
		"not UTF-8":              {signWith(testSecret, in(time.Hour)+":\xff\xfe"), 401},
		"mark of a session only": {signWith(testSecret, in(time.Hour)+":+"), 401},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := b.client(t, tc.cred)
			if code, _ := c.request(stun.MethodAllocate, overUDP); code != tc.want {
				t.Errorf("got %d, want %d", code, tc.want)
			}
		})
	}
	t.Run("foreign realm", func(t *testing.T) {
		c := b.client(t, b.mint(t, User, "alice"))
		c.realm = "elsewhere"
		if code, _ := c.request(stun.MethodAllocate, overUDP); code != 401 {
			t.Errorf("got %d, want 401", code)
		}
	})
	t.Run("forged nonce", func(t *testing.T) {
		c := b.client(t, b.mint(t, User, "alice"))
		c.nonce = stun.Nonce("0123456789abcdef")
		if code, _ := c.request(stun.MethodAllocate, overUDP); code != 438 {
			t.Errorf("got %d, want 438", code)
		}
	})
	for reason, n := range map[string]uint64{"realm": 1, "expired": 2, "session_ended": 1, "integrity": 3, "username": 9} {
		if got := b.Stats().Denied[reason]; got != n {
			t.Errorf("%d counted as %s, want %d", got, reason, n)
		}
	}
}

func TestSessionKeepsItsRelayWhenTheCredentialExpires(t *testing.T) {
	b := start(t, nil)
	session, user := b.client(t, b.mint(t, Session, "s1")), b.client(t, b.mint(t, User, "alice"))
	session.allocate()
	user.allocate()
	b.clock.advance(25 * time.Hour)
	if code, _ := session.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
		t.Errorf("Refresh of a live session: %d, want success", code)
	}
	if code, _ := user.request(stun.MethodRefresh, lifetimeAttr(600)); code != 401 {
		t.Errorf("Refresh of a user whose credential has expired: %d, want 401", code)
	}
	if code, _ := b.client(t, session.cred).request(stun.MethodAllocate, overUDP); code != 401 {
		t.Errorf("new Allocate with the expired credential: %d, want 401", code)
	}
}

func TestRevokedSessionLosesItsRelaysAtOnce(t *testing.T) {
	b := start(t, nil)
	gone, stays := b.client(t, b.mint(t, Session, "s1")), b.client(t, b.mint(t, Session, "s2"))
	tcp := dialRaw(t, "tcp", b.tcp, gone.cred)
	gone.allocate()
	tcp.allocate()
	stays.allocate()
	b.relays(t, 3)
	begin := time.Now()
	b.ended.Store("s1", true)
	b.Revoke("s1")
	b.relays(t, 1)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("revocation took %v", took)
	}
	if code, _ := gone.request(stun.MethodRefresh, lifetimeAttr(600)); code != 401 {
		t.Errorf("Refresh after revocation: %d, want 401", code)
	}
	if code, _ := stays.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
		t.Errorf("Refresh of another session: %d, want success", code)
	}
}

func TestPreviousSecretIsAcceptedUntilItIsRotatedOut(t *testing.T) {
	const next, last = "the secret that comes next", "the secret after that one"
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			b := start(t, nil)
			to := b.udp
			if network == "tcp" {
				to = b.tcp
			}
			old := dialRaw(t, network, to, b.mint(t, User, "alice"))
			old.allocate()
			if err := b.SetSecrets(next, testSecret); err != nil {
				t.Fatal(err)
			}
			dialRaw(t, network, to, old.cred).allocate()
			dialRaw(t, network, to, b.mint(t, User, "bob")).allocate()
			if code, _ := old.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
				t.Errorf("Refresh with the previous secret: %d", code)
			}
			b.secrets.mu.Lock()
			if n := len(b.secrets.noted); n != 0 {
				t.Errorf("%d notes about requests left", n)
			}
			b.secrets.mu.Unlock()
			if err := b.SetSecrets(last, next); err != nil {
				t.Fatal(err)
			}
			if code, _ := dialRaw(t, network, to, old.cred).request(stun.MethodAllocate, overUDP); code != 401 {
				t.Errorf("Allocate with the secret before the previous: %d, want 401", code)
			}
		})
	}
}

func TestRunningAllocationsOutliveEveryRotation(t *testing.T) {
	b := start(t, nil)
	media := peerAttr(b.media.Advertised()[0])
	clients := map[string]*raw{
		"UDP": b.client(t, b.mint(t, Session, "s1")), "TCP": dialRaw(t, "tcp", b.tcp, b.mint(t, User, "alice")),
	}
	for _, c := range clients {
		c.allocate()
	}
	secrets := []string{testSecret}
	for i := range maxRetired {
		secrets = append([]string{"a secret for the rotation of number " + strconv.Itoa(i)}, secrets[:min(1, len(secrets))]...)
		if err := b.SetSecrets(secrets...); err != nil {
			t.Fatal(err)
		}
		for name, c := range clients {
			if code, _ := c.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
				t.Errorf("%s: Refresh after rotation %d: %d", name, i, code)
			}
			if code, _ := c.request(stun.MethodCreatePermission, media); code != 0 {
				t.Errorf("%s: CreatePermission after rotation %d: %d", name, i, code)
			}
		}
	}
	for name, c := range clients {
		if code, _ := c.request(stun.MethodAllocate, overUDP); code != 401 {
			t.Errorf("%s: a second Allocate with a retired secret: %d, want 401", name, code)
		}
	}
	b.ended.Store("s1", true) // what ends a session ends its relay all the same
	if code, _ := clients["UDP"].request(stun.MethodRefresh, lifetimeAttr(600)); code != 401 {
		t.Errorf("Refresh of an ended session: %d, want 401", code)
	}
}

func TestNotesAboutSignaturesAreBounded(t *testing.T) {
	s := newSecrets(testRealm, []string{"the secret that comes next", testSecret})
	cred, err := mint(testSecret, User, "alice", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest),
		stun.NewUsername(cred.Username), stun.NewRealm(testRealm), stun.NewNonce("stale"),
		stun.NewLongTermIntegrity(cred.Username, testRealm, cred.Password))
	from := func(i int) net.Addr { return &net.UDPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i)), Port: 1} }
	for i := range maxNotes + 10 {
		s.look(m.Raw, from(i))
	}
	if n := len(s.noted); n == 0 || n > maxNotes {
		t.Errorf("%d notes, want at most %d", n, maxNotes)
	}
	if s.of(from(maxNotes+9)) != testSecret {
		t.Error("the last request is not noted")
	}
}

func TestMintedCredentialIsWhatTheRESTConventionSays(t *testing.T) {
	now := time.Unix(1700000000, 0)
	c, err := mint("north-south-secret", User, "alice", time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	// echo -n 1700003600:alice | openssl dgst -sha1 -hmac north-south-secret -binary | base64
	if c.Username != "1700003600:alice" || c.Password != "1iioln3O0bUmL4YpMgVW3im0ZBA=" || c.TTL != time.Hour {
		t.Errorf("minted %+v", c)
	}
	u, err := parseUsername(c.Username)
	if err != nil || u.id != "alice" || u.kind != User || !u.expiry.Equal(now.Add(time.Hour)) {
		t.Errorf("parsed %+v, %v", u, err)
	}
	for _, id := range []string{"", "a:b", "+session", "a b", strings.Repeat("a", 65), "\xff"} {
		if c, err := mint("north-south-secret", User, id, time.Hour, now); err == nil {
			t.Errorf("minted %+v for %q", c, id)
		}
	}
}

func TestURIsNameEveryTransport(t *testing.T) {
	got := strings.Join(URIs("turn.example.org", 3478, 443, 443), " ")
	want := "turn:turn.example.org:3478?transport=udp turns:turn.example.org:443?transport=tcp turn:turn.example.org:443?transport=tcp"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := strings.Join(URIs("2001:db8::1", 0, 8080, 0), " "); got != "turn:[2001:db8::1]:8080?transport=tcp" {
		t.Errorf("got %s", got)
	}
}

func FuzzParseUsername(f *testing.F) {
	for _, s := range []string{"1700003600:alice", "1700003600:+sid", ":", "1:", ":a", "-1:a", "1:a:b", "99999999999999999999:a", "\xff:\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseUsername(s)
		if err != nil {
			return
		}
		if !validID(u.id) || strings.Contains(u.account(), ":") {
			t.Fatalf("%q was parsed as %+v", s, u)
		}
		again, err := parseUsername(strconv.FormatInt(u.expiry.Unix(), 10) + ":" + u.account())
		if err != nil || again != u {
			t.Fatalf("%q is %+v, but again %+v, %v", s, u, again, err)
		}
	})
}
