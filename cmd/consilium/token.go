package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	"consilium/internal/auth"
	"consilium/internal/config"
)

// tokenOptions are the flags of `consilium token`.
type tokenOptions struct {
	source
	claims auth.Claims
	role   string
	ttl    time.Duration
	url    string
}

func tokenCommand() command {
	return command{
		name:    "token",
		args:    "[--config FILE | --dev] --room ROOM --identity ID [--role ROLE] ...",
		summary: "print a join token, or with --url a join link",
		details: `  --config FILE   configuration with the key to sign with
  --dev           sign with the key of serve --dev
  --room ROOM     room to join, 1 to 64 of A-Z a-z 0-9 . _ ~ -; "*" with --role admin
  --identity ID   who joins, of the same characters (for an admin: "admin")
  --role ROLE     patient (default), companion, interpreter, doctor, observer,
                  device, or admin for the HTTP API
  --name NAME     name shown to others
  --lang LANG     language of the page, like en or ru
  --ttl 10m       how long one can join with it: s, m, h or d
  --url BASE      print the join link BASE/r/ROOM#TOKEN instead

examples:
  consilium token --dev --room demo --identity anna --name Anna --url http://127.0.0.1:8080
  consilium token --config /etc/consilium/config.yaml --room "*" --role admin
`,
		define: func(fs *flag.FlagSet, _ []string) action {
			o := &tokenOptions{ttl: 10 * time.Minute}
			o.source.define(fs)
			fs.StringVar(&o.claims.Room, "room", "", "")
			fs.StringVar(&o.claims.Subject, "identity", "", "")
			fs.StringVar(&o.role, "role", string(auth.RolePatient), "")
			fs.StringVar(&o.claims.Name, "name", "", "")
			fs.StringVar(&o.claims.Lang, "lang", "", "")
			fs.StringVar(&o.url, "url", "", "")
			fs.Func("ttl", "", func(text string) (err error) {
				o.ttl, err = config.ParseDuration(text)
				return err
			})
			return o.run
		},
	}
}

func (o *tokenOptions) run(_ context.Context, p *program, args []string) error {
	if err := noArguments("token", args); err != nil {
		return err
	}
	o.claims.Role = auth.Role(o.role)
	if o.claims.Role == auth.RoleAdmin && o.claims.Subject == "" {
		o.claims.Subject = "admin"
	}
	if err := o.check(); err != nil {
		return err
	}
	cfg, err := o.load(p)
	if err != nil {
		return err
	}
	authority, err := auth.New(auth.Config{Keys: cfg.Keys})
	if err != nil {
		return err
	}
	token, err := authority.Mint(o.claims, o.ttl)
	if err != nil {
		return err
	}
	if o.url != "" {
		token = joinLink(o.url, o.claims.Room, token)
	}
	_, err = fmt.Fprintln(p.stdout, token)
	return err
}

// check finds mistakes in the command line.
func (o *tokenOptions) check() error {
	_, known := auth.DefaultGrants(o.claims.Role)
	base, err := url.Parse(o.url)
	switch {
	case o.claims.Room == "":
		return usagef("token: --room is missing; see `consilium help token`")
	case o.claims.Subject == "":
		return usagef("token: --identity is missing; see `consilium help token`")
	case !known:
		return usagef("token: there is no role %q; see `consilium help token`", o.role)
	case !auth.Ident(o.claims.Subject):
		return usagef("token: --identity %q is not 1 to 64 of A-Z a-z 0-9 . _ ~ -", o.claims.Subject)
	case o.claims.Room == auth.AllRooms && o.claims.Role != auth.RoleAdmin:
		return usagef(`token: --room "*" is for --role admin only; name a room`)
	case o.claims.Room != auth.AllRooms && !auth.Ident(o.claims.Room):
		return usagef("token: --room %q is not 1 to 64 of A-Z a-z 0-9 . _ ~ -", o.claims.Room)
	case o.ttl < time.Second:
		return usagef("token: --ttl %v is less than a second", o.ttl)
	case o.url != "" && o.claims.Role == auth.RoleAdmin:
		return usagef("token: an admin can't join, so there is no link; leave out --url")
	case o.url != "" && (err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https"):
		return usagef(`token: --url %q is not like "https://video.example.org"`, o.url)
	}
	return nil
}

// joinLink returns the link that opens the room with the token. The token is in
// the fragment, which browsers don't send and logs don't see.
func joinLink(base, room, token string) string {
	return strings.TrimRight(base, "/") + "/r/" + room + "#" + token
}
