package auth

import (
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/config"
	"consilium/internal/event"
)

// A room in which devices are tested is not recorded: only the server itself
// may make tokens for one.
func TestNobodyElseNamesAPrecheckRoom(t *testing.T) {
	keys := Config{Keys: map[string]config.Key{"mis": {Secret: "0123456789abcdef0123456789abcdef"}}}
	server, err := New(keys)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(keys) // as the MIS signs, or the token command
	if err != nil {
		t.Fatal(err)
	}
	room := event.PrecheckRoom + "abc"
	claims := Claims{Room: room, Subject: "pat", Role: RoleInterpreter}
	own, err := server.Mint(claims, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := server.VerifyJoin(own); err != nil || c.Room != room {
		t.Errorf("the server's own token: %+v, %v", c, err)
	}
	foreign, err := other.Mint(claims, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.VerifyJoin(foreign); err == nil {
		t.Error("another's token for a precheck room is taken")
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "mis", "sub": "pat", "room": room, "role": "patient", "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString([]byte(keys.Keys["mis"].Secret))
	if err != nil {
		t.Fatal(err)
	}
	var refused *Error
	if _, err := server.VerifyJoin(signed); !errors.As(err, &refused) || refused.Reason != ReasonUnknownKey {
		t.Errorf("the MIS names a precheck room: %v", err)
	}
	if err := server.Reload(keys); err != nil {
		t.Fatal(err)
	}
	if _, err := server.VerifyJoin(own); err != nil {
		t.Errorf("after a reload: %v", err)
	}
}
