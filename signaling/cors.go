package signaling

import "net/http"

const sdpType = "application/sdp"

// allowOrigin lets pages of other origins use WHIP and WHEP: what protects them
// is the token in the Authorization header, which no page sends by itself.
func allowOrigin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After, WWW-Authenticate")
}

// preflight answers a CORS preflight request, if r is one.
func preflight(w http.ResponseWriter, r *http.Request, methods string) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusOK)
	return true
}
