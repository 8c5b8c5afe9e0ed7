// Package credentials finds the logins for an image's registry: in the pull secrets that a pod names, in the node's own
// Docker configuration, and by asking credential provider plugins (KEP-2133, KEP-4412). It knows how an entry's key
// matches an image and how specific it is. It never pulls, writes nothing to disk and never shows what is secret: its
// errors name secrets, keys and programs alone. Package images calls it for each pull.
package credentials
