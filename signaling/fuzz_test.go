package signaling

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// FuzzDecode checks that no bytes crash the decoder, and that what it accepts
// is a message of the catalogue that survives being encoded again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"type":"hello","body":{"token":"t","client":{}}}`, `{"type":"ack","ack":3}`, `{"type":"end","seq":1,"id":"a","body":{}}`,
		`{"type":"publish","seq":1,"id":"a","body":{"mid":"0","source":"mic","active":true,"muted":false}}`,
		`{"type":"x"}`, `{`, ``, `null`, `[]`, `{"type":"ping","body":null}`, `{"type":"end","seq":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := decode(raw)
		if in.refusal != nil {
			if in.body != nil || in.refusal.code == "" || in.refusal.text == "" {
				t.Fatalf("refusal %+v with body %v", in.refusal, in.body)
			}
			return
		}
		body, err := json.Marshal(in.body)
		if err != nil {
			t.Fatal(err)
		}
		in.Body = body
		again, err := json.Marshal(in.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		if second := decode(again); second.refusal != nil || second.Envelope.Seq != in.Seq || second.ID != in.ID {
			t.Fatalf("%s was accepted, %s was not: %+v", raw, again, second.refusal)
		}
	})
}

// FuzzBody checks every body that a client may send.
func FuzzBody(f *testing.F) {
	var kinds []MessageType
	for _, m := range Catalogue() {
		if m.Direction == ToServer {
			seed, err := json.Marshal(m.New())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(len(kinds)), seed)
			kinds = append(kinds, m)
		}
	}
	f.Add(uint8(9), []byte(`{"entries":[{"time":1e300,"stage":"ice","text":"","data":{"a":[{}]}}]}`))
	f.Fuzz(func(t *testing.T, kind uint8, raw []byte) {
		m := kinds[int(kind)%len(kinds)]
		if !json.Valid(raw) {
			return
		}
		message, err := json.Marshal(Envelope{Type: m.Name, Seq: 1, ID: "a", Body: raw})
		if err != nil {
			t.Fatal(err)
		}
		in := decode(message)
		if in.refusal == nil && in.body == nil {
			t.Fatalf("%s has no body", message)
		}
	})
}

func FuzzSDPFrag(f *testing.F) {
	f.Add(testFrag)
	f.Add("a=candidate:1\nm=\na=mid:\n")
	f.Add("a=end-of-candidates")
	f.Fuzz(func(t *testing.T, body string) {
		frag, err := parseSDPFrag(body)
		if err != nil {
			return
		}
		if len(frag.candidates) > maxFragCandidates || (frag.ufrag == "") != (frag.pwd == "") {
			t.Fatalf("accepted %+v", frag)
		}
		for _, c := range frag.candidates {
			if strings.ContainsAny(c.candidate+c.mid, "\r\n") {
				t.Fatalf("a line break in %q", c)
			}
		}
		if frag.ufrag == "" {
			return
		}
		offer := withICECredentials(testOffer, frag.ufrag, frag.pwd)
		if u, p := iceCredentials(offer); u != frag.ufrag || p != frag.pwd {
			t.Fatalf("credentials %q %q became %q %q", frag.ufrag, frag.pwd, u, p)
		}
		if !strings.HasPrefix(fragOf(offer), "a=ice-ufrag:"+frag.ufrag+"\r\n") {
			t.Fatal("the answer's fragment has other credentials")
		}
	})
}

// FuzzSecret checks that only signed secrets are accepted.
func FuzzSecret(f *testing.F) {
	s := secretSigner{key: []byte("key")}
	f.Add("a.b")
	f.Add(".")
	f.Fuzz(func(t *testing.T, secret string) {
		if c, err := s.verify(secret, time.Now()); err == nil {
			t.Fatalf("%q was accepted: %+v", secret, c)
		}
	})
}
