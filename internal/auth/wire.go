package auth

import (
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// wireClaims is the payload of a token. Claims that aren't here are ignored.
type wireClaims struct {
	Issuer    string    `json:"iss"`
	Subject   string    `json:"sub"`
	Room      string    `json:"room"`
	Role      Role      `json:"role"`
	Expires   *float64  `json:"exp"` // NumericDate, RFC 7519, section 2
	NotBefore *float64  `json:"nbf,omitempty"`
	IssuedAt  *float64  `json:"iat,omitempty"`
	ID        string    `json:"jti,omitempty"`
	Name      string    `json:"name,omitempty"`
	Lang      string    `json:"lang,omitempty"`
	Grants    *[]string `json:"grants,omitempty"`
}

// The methods of jwt.Claims are there to satisfy the library, which is told not
// to validate claims: Authority does.

func (*wireClaims) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (*wireClaims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (*wireClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (w *wireClaims) GetIssuer() (string, error)                 { return w.Issuer, nil }
func (w *wireClaims) GetSubject() (string, error)                { return w.Subject, nil }
func (*wireClaims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

// claims checks that everything required is there and can be used.
func (w *wireClaims) claims() (Claims, error) {
	if missing := w.missing(); len(missing) > 0 {
		return Claims{}, bad(ReasonMissingClaim, strings.Join(missing, ", "))
	}
	c := Claims{
		Issuer: w.Issuer, Subject: w.Subject, Room: w.Room, Role: w.Role,
		Name: w.Name, Lang: w.Lang, ID: w.ID,
	}
	for _, date := range []struct {
		name string
		from *float64
		to   *time.Time
	}{{"exp", w.Expires, &c.Expires}, {"nbf", w.NotBefore, &c.NotBefore}, {"iat", w.IssuedAt, &c.IssuedAt}} {
		t, ok := numericDate(date.from)
		if !ok {
			return Claims{}, bad(ReasonBadClaim, date.name+" is not seconds since 1970")
		}
		*date.to = t
	}
	if err := c.check(); err != nil {
		return Claims{}, err
	}
	c.Grants, _ = DefaultGrants(c.Role)
	if w.Grants != nil {
		c.Grants &= ParseGrants(*w.Grants)
	}
	return c, nil
}

// missing names the required claims that aren't there.
func (w *wireClaims) missing() []string {
	var names []string
	for _, claim := range []struct {
		name string
		here bool
	}{
		{"iss", w.Issuer != ""}, {"sub", w.Subject != ""}, {"room", w.Room != ""},
		{"role", w.Role != ""}, {"exp", w.Expires != nil},
	} {
		if !claim.here {
			names = append(names, claim.name)
		}
	}
	return names
}

// wire is the opposite of wireClaims.claims.
func (c Claims) wire() *wireClaims {
	w := &wireClaims{
		Issuer: c.Issuer, Subject: c.Subject, Room: c.Room, Role: c.Role,
		Name: c.Name, Lang: c.Lang, ID: c.ID,
		Expires: seconds(c.Expires), NotBefore: seconds(c.NotBefore), IssuedAt: seconds(c.IssuedAt),
	}
	if c.Grants != 0 {
		names := c.Grants.Names()
		w.Grants = &names
	}
	return w
}

// maxNumericDate is the end of the year 9999, the last that RFC 3339 can name.
const maxNumericDate = 253402300799

// numericDate converts a NumericDate to a time, exact to a millisecond; nil is
// the zero time.
func numericDate(s *float64) (time.Time, bool) {
	if s == nil {
		return time.Time{}, true
	}
	if !(*s >= 0 && *s <= maxNumericDate) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(*s * 1000))), true
}

// seconds converts a time to a NumericDate in milliseconds; nil for the zero
// time. Fractions matter for iat: a new invitation may follow a revocation
// within the same second.
func seconds(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	s := float64(t.UnixMilli()) / 1000
	return &s
}
