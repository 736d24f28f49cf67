package portmux

import (
	"encoding/binary"
	"testing"

	"github.com/pion/stun/v4"
)

// stunRequest returns an encoded request of the given method.
func stunRequest(tb testing.TB, method stun.Method) []byte {
	tb.Helper()
	m, err := stun.Build(stun.TransactionID, stun.NewType(method, stun.ClassRequest), stun.NewUsername("a:b"))
	if err != nil {
		tb.Fatal(err)
	}
	return m.Raw
}

// rfc4571 puts the length in front of a message.
func rfc4571(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func TestFirstBytesTellTheProtocol(t *testing.T) {
	binding, allocate := stunRequest(t, stun.MethodBinding), stunRequest(t, stun.MethodAllocate)
	tests := map[string]struct {
		bytes   []byte
		want    Kind
		decides int // after how many bytes
	}{
		"HTTP GET":                     {[]byte("GET / HTTP/1.1\r\n"), HTTP, 1},
		"HTTP OPTIONS":                 {[]byte("OPTIONS * HTTP/1.1\r\n"), HTTP, 1},
		"HTTP/2 preface":               {[]byte("PRI * HTTP/2.0\r\n"), HTTP, 1},
		"TLS ClientHello":              {[]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, TLS, 1},
		"TURN Allocate":                {allocate, TURN, 8},
		"STUN Binding without a frame": {binding, TURN, 8},
		"ICE-TCP":                      {rfc4571(binding), ICE, 10},
		"RFC 4571 with Allocate":       {rfc4571(allocate), Unknown, 10},
		"RFC 4571 of 513 bytes":        {append([]byte{2, 1}, binding...), Unknown, 10},
		"RFC 4571 of 19 bytes":         {append([]byte{0, 19}, binding...), Unknown, 10},
		"RFC 4571 of no bytes":         {append([]byte{0, 0}, binding...), Unknown, 10},
		"RFC 4571 of 65535 bytes":      {append([]byte{255, 255}, binding...), Unknown, 1},
		"ChannelData first":            {append([]byte{0x40, 0, 0xff, 0xfc}, make([]byte, 16)...), Unknown, 1},
		"odd STUN length":              {[]byte{0, 1, 0, 5, 0x21, 0x12, 0xa4, 0x42, 0, 0}, Unknown, 8},
		"zeros":                        {make([]byte, 20), Unknown, 10},
		"SSH":                          {[]byte("SSH-2.0-OpenSSH"), HTTP, 1}, // net/http answers 400
		"lower case":                   {[]byte("get / http"), Unknown, 1},
		"RDP":                          {[]byte{3, 0, 0, 19, 14, 224, 0, 0, 0, 0}, Unknown, 1},
		"SMB":                          {[]byte{0, 0, 0, 0x85, 0xff, 'S', 'M', 'B', 0x72, 0}, Unknown, 10},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Sniff(tc.bytes); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			for n := range tc.decides {
				if got := Sniff(tc.bytes[:n]); got != NeedMore {
					t.Errorf("after %d bytes: %v, want to need more", n, got)
				}
			}
			if got := Sniff(tc.bytes[:tc.decides]); got != tc.want {
				t.Errorf("after %d bytes: %v, want %v", tc.decides, got, tc.want)
			}
		})
	}
}

func FuzzSniff(f *testing.F) {
	f.Add([]byte("GET /"))
	f.Add(stunRequest(f, stun.MethodAllocate))
	f.Add(rfc4571(stunRequest(f, stun.MethodBinding)))
	f.Add([]byte{0x40, 0, 0xff, 0xfc, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		decided := NeedMore
		for n := range len(b) + 1 {
			kind := Sniff(b[:n])
			if decided != NeedMore && kind != decided {
				t.Fatalf("%x is %v after fewer bytes and %v after %d", b, decided, kind, n)
			}
			if kind == NeedMore && n >= sniffLen {
				t.Fatalf("%x is undecided after %d bytes", b, n)
			}
			decided = kind
		}
	})
}
