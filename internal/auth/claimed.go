package auth

import "github.com/golang-jwt/jwt/v5"

// Claimed returns what a token says of its room and its bearer without anybody
// vouching for it: for a log, never to decide by. What can't be a room or an
// identity is "".
func Claimed(token string) (room, identity string) {
	if len(token) > MaxTokenBytes {
		return "", ""
	}
	var w wireClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &w); err != nil {
		return "", ""
	}
	if Ident(w.Room) {
		room = w.Room
	}
	if Ident(w.Subject) {
		identity = w.Subject
	}
	return room, identity
}
