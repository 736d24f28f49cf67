package timeline

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// removed stands where something was taken out.
const removed = "[removed]"

// private are the keys, without regard to case, whose values say who somebody
// is or let somebody in. Values of other keys are looked through.
func private() []string {
	return []string{
		"token", "secret", "password", "credential", "username", "authorization", "cookie", "rejoin",
		"name", "label", "deviceid", "groupid", "metadata",
	}
}

// cleaner takes out of values what must not be given away.
type cleaner struct{ rules []rule }

// rule replaces what matches.
type rule struct {
	pattern *regexp.Regexp
	with    string
}

func newCleaner() *cleaner {
	c := new(cleaner)
	for _, r := range []struct{ pattern, with string }{
		{`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,2}`, removed}, // a JWT
		{`(?i)(a=(?:ice-pwd|crypto):)[^\r\n]*`, "${1}" + removed},
		{`(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/=._-]{8,}`, "${1}" + removed},
		{`(?i)\b((?:https?|wss?|stuns?|turns?):[^\s"'#]*)#[^\s"']*`, "${1}#" + removed}, // of a join link
		{`(?i)\b((?:https?|wss?):[^\s"'?]*)\?[^\s"'#]*`, "${1}?" + removed},
	} {
		c.rules = append(c.rules, rule{regexp.MustCompile(r.pattern), r.with})
	}
	return c
}

// value returns a cleaned copy of a value of JSON.
func (c *cleaner) value(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		return removed
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return removed
	}
	return c.inner("", plain)
}

func (c *cleaner) inner(key string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for k, inner := range v {
			if slices.Contains(private(), strings.ToLower(k)) {
				v[k] = removed
				continue
			}
			v[k] = c.inner(k, inner)
		}
	case []any:
		for i := range v {
			v[i] = c.inner(key, v[i])
		}
	case string:
		if key == "user_agent" { // its versions look like addresses
			return c.text(v)
		}
		return maskAddresses(c.text(v))
	}
	return value
}

// text takes out of text what opens something: tokens, passwords of ICE, and
// what follows # or ? in addresses of pages.
func (c *cleaner) text(text string) string {
	for _, r := range c.rules {
		text = r.pattern.ReplaceAllString(text, r.with)
	}
	return text
}

// maskAddresses keeps of every public address in text only the network: 16 bits
// of IPv4, 48 of IPv6. Private ones say nothing about anybody.
func maskAddresses(text string) string {
	outside := func(r rune) bool {
		return !strings.ContainsRune("0123456789abcdefABCDEF:.", r)
	}
	var out strings.Builder
	for len(text) > 0 {
		start := strings.IndexFunc(text, func(r rune) bool { return !outside(r) })
		if start < 0 {
			break
		}
		out.WriteString(text[:start])
		text = text[start:]
		end := strings.IndexFunc(text, outside)
		if end < 0 {
			end = len(text)
		}
		// The point may be that of a sentence.
		address := strings.TrimRight(text[:end], ".")
		if !strings.HasSuffix(address, "::") {
			address = strings.TrimRight(address, ":")
		}
		out.WriteString(maskAddress(address) + text[len(address):end])
		text = text[end:]
	}
	out.WriteString(text)
	return out.String()
}

// maskAddress masks an address, maybe with a port; other text stays.
func maskAddress(text string) string {
	a, err := netip.ParseAddr(text)
	tail := ""
	if err != nil {
		host, port, found := strings.Cut(text, ":")
		if a, err = netip.ParseAddr(host); !found || err != nil {
			return text
		}
		tail = ":" + port
	}
	a = a.Unmap()
	bits := 48
	if a.Is4() {
		bits = 16
	}
	shared := netip.MustParsePrefix("100.64.0.0/10") // of carriers, RFC 6598
	if !a.IsGlobalUnicast() || a.IsPrivate() || shared.Contains(a) {
		return text
	}
	masked, err := a.Prefix(bits)
	if err != nil {
		return text
	}
	return masked.Masked().Addr().String() + tail
}
