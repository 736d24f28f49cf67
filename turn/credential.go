package turn

import (
	"crypto/hmac"
	"crypto/sha1" // the REST convention; long-term credentials know nothing newer
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Kind says whom a credential belongs to, and with it when it ends.
type Kind uint8

const (
	// Session credentials are minted at join. Their expiry is looked at when
	// an allocation is made; from then on they live as long as the session,
	// so that no call loses its relay at a refresh.
	Session Kind = iota
	// User credentials come from GET /v1/turn or are signed by somebody else
	// with the shared secret. No session vouches for them, so they are good
	// until they expire.
	User
)

// sessionMark starts the id of a session credential. No user id starts with
// it, so that nobody can ask for a credential that looks like a session's.
const sessionMark = "+"

const maxID = 64 // characters

// Credential is a TURN username and password. TTL is what is left of it when
// it is minted.
type Credential struct {
	Username string
	Password string
	TTL      time.Duration
}

// ErrBadID says that an id can't be part of a TURN username.
var ErrBadID = errors.New("id must be 1 to 64 of A-Z a-z 0-9 . _ ~ @ -")

// mint signs a username that expires ttl after now.
func mint(secret string, kind Kind, id string, ttl time.Duration, now time.Time) (Credential, error) {
	if !validID(id) {
		return Credential{}, fmt.Errorf("mint TURN credential for %q: %w", id, ErrBadID)
	}
	if kind == Session {
		id = sessionMark + id
	}
	username := strconv.FormatInt(now.Add(ttl).Unix(), 10) + ":" + id
	return Credential{Username: username, Password: password(secret, username), TTL: ttl}, nil
}

func password(secret, username string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// username is a parsed "expiry:id".
type username struct {
	expiry time.Time
	kind   Kind
	id     string // without the mark of a session
}

// account is what quotas are counted under: one per id and kind.
func (u username) account() string {
	if u.kind == Session {
		return sessionMark + u.id
	}
	return u.id
}

var errUsername = errors.New("username is not expiry:id")

// parseUsername takes a username apart. It accepts exactly what mint makes, and
// what the REST convention makes with the same alphabet.
func parseUsername(s string) (username, error) {
	digits, id, found := strings.Cut(s, ":")
	if !found || len(digits) == 0 || len(digits) > 12 {
		return username{}, errUsername
	}
	seconds, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return username{}, errUsername
	}
	u := username{expiry: time.Unix(int64(seconds), 0), kind: User, id: id}
	if rest, ok := strings.CutPrefix(id, sessionMark); ok {
		u.kind, u.id = Session, rest
	}
	if !validID(u.id) {
		return username{}, errUsername
	}
	return u, nil
}

func validID(id string) bool {
	if len(id) == 0 || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("._~@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func checkSecrets(secrets []string) error {
	if len(secrets) == 0 || len(secrets) > 2 {
		return fmt.Errorf("turn: %d secrets; want the current one and at most one previous", len(secrets))
	}
	for _, s := range secrets {
		if len(s) < 16 {
			return errors.New("turn: a secret is shorter than 16 bytes")
		}
	}
	return nil
}

// URIs returns the TURN URIs (RFC 7065) of a server at host, UDP first. A zero
// port leaves its transport out. For TLS, host must be a name: Firefox ignores
// a turns URI with an IP address.
func URIs(host string, udp, tcp, tls int) []string {
	var uris []string
	add := func(scheme string, port int, transport string) {
		if port != 0 {
			uris = append(uris, scheme+":"+net.JoinHostPort(host, strconv.Itoa(port))+"?transport="+transport)
		}
	}
	add("turn", udp, "udp")
	add("turns", tls, "tcp")
	add("turn", tcp, "tcp")
	return uris
}
