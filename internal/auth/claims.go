package auth

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Role is what somebody is in a call.
type Role string

// Roles.
const (
	RolePatient     Role = "patient"
	RoleCompanion   Role = "companion"
	RoleInterpreter Role = "interpreter"
	RoleDoctor      Role = "doctor"
	RoleObserver    Role = "observer"
	RoleDevice      Role = "device"
	RoleAdmin       Role = "admin" // the HTTP API; an admin can't join
)

// Roles returns every role, in the order of the documentation.
func Roles() []Role {
	return []Role{RolePatient, RoleCompanion, RoleInterpreter, RoleDoctor, RoleObserver, RoleDevice, RoleAdmin}
}

// Grants is a set of things somebody may do in a call. The zero value is the
// empty set.
type Grants uint16

// The grants. Join them with |.
const (
	PublishAudio Grants = 1 << iota
	PublishVideo
	PublishScreen
	Subscribe
	Chat
	Files
	Record
	Admit
	Mute
	Remove
	End
)

// grantNames has the names of the grants, by bit.
var grantNames = [...]string{
	"publish.audio", "publish.video", "publish.screen", "subscribe", "chat", "files",
	"record", "admit", "mute", "remove", "end",
}

// Has reports whether all of g is in the set.
func (s Grants) Has(g Grants) bool { return s&g == g }

// Names returns the names of the grants in the set, as tokens spell them.
func (s Grants) Names() []string {
	names := []string{}
	for i, name := range grantNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String returns the names, separated by spaces.
func (s Grants) String() string { return strings.Join(s.Names(), " ") }

// ParseGrants returns the set of the named grants. A name nobody knows grants
// nothing and is ignored: a newer issuer may know more grants than this server.
func ParseGrants(names []string) Grants {
	var s Grants
	for _, name := range names {
		for i, known := range grantNames {
			if name == known {
				s |= 1 << i
			}
		}
	}
	return s
}

// DefaultGrants returns what a role may do unless its token narrows it, and
// false for a role that does not exist.
func DefaultGrants(r Role) (Grants, bool) {
	const interpreter = PublishAudio | PublishVideo | Subscribe | Chat
	const patient = interpreter | Files
	switch r {
	case RolePatient, RoleCompanion:
		return patient, true
	case RoleInterpreter:
		return interpreter, true
	case RoleDoctor:
		return patient | PublishScreen | Record | Admit | Mute | Remove | End, true
	case RoleObserver:
		return Subscribe, true
	case RoleDevice:
		return PublishAudio | PublishVideo, true
	case RoleAdmin:
		return 0, true
	}
	return 0, false
}

// AllRooms is the room of a token that is not for one room; only an admin may
// have it.
const AllRooms = "*"

// Claims is what a verified token says.
type Claims struct {
	Issuer  string // id of the key that signed it
	Subject string // identity of the person or device
	Room    string // or AllRooms
	Role    Role
	Name    string // shown to others; may be empty
	Lang    string // BCP 47 tag, or empty

	// Grants is what the token allows: at most what the role allows. For
	// [Authority.Mint] the empty set means the role's default.
	Grants Grants

	Expires   time.Time
	NotBefore time.Time // zero: from the start
	IssuedAt  time.Time // zero: not said
	ID        string    // jti, for revocation; may be empty
}

// Limits of claims.
const (
	maxNameBytes = 256
	maxLangBytes = 35 // RFC 5646, section 4.4.1
	maxIDBytes   = 128
)

// Ident reports whether s can be an identity or a room: 1 to 64 of
// [A-Za-z0-9._~-]. "." and ".." can't: a browser removes them from a path (RFC
// 3986, section 5.2.4), so no link could name them.
func Ident(s string) bool {
	if len(s) < 1 || len(s) > 64 || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && c != '.' && c != '_' && c != '~' && c != '-' {
			return false
		}
	}
	return true
}

// check says what is wrong with claims that are there but can't be used. It
// does not look at time.
func (c Claims) check() error {
	if _, ok := DefaultGrants(c.Role); !ok {
		return bad(ReasonBadClaim, fmt.Sprintf("role %q does not exist", clip(string(c.Role))))
	}
	if !Ident(c.Subject) {
		return bad(ReasonBadClaim, fmt.Sprintf("sub %q is not 1 to 64 of A-Z a-z 0-9 . _ ~ -", clip(c.Subject)))
	}
	switch {
	case c.Room == AllRooms && c.Role != RoleAdmin:
		return bad(ReasonBadClaim, `room "*" is for role admin only`)
	case c.Room != AllRooms && !Ident(c.Room):
		return bad(ReasonBadClaim, fmt.Sprintf("room %q is not 1 to 64 of A-Z a-z 0-9 . _ ~ -", clip(c.Room)))
	case !printable(c.Name, maxNameBytes):
		return bad(ReasonBadClaim, fmt.Sprintf("name is not printable text of at most %d bytes", maxNameBytes))
	case !printable(c.Lang, maxLangBytes):
		return bad(ReasonBadClaim, "lang is not a language tag")
	case !printable(c.ID, maxIDBytes):
		return bad(ReasonBadClaim, fmt.Sprintf("jti is not printable text of at most %d bytes", maxIDBytes))
	}
	return nil
}

// printable reports whether s is at most limit bytes of text without control
// characters and without the bidirectional overrides that make a name read as
// another one.
func printable(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return false
		}
	}
	return true
}

// clip shortens what comes from outside before it goes into an error.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
