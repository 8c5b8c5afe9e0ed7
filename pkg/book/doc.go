// Package book keeps what the agent must remember as JSON files, one value a file. It owns how a file gets there whole
// and what follows when it cannot be read. What a value means is its owner's. Files are 0600.
//
// A file is garbled when it is no regular file, is larger than 64 MiB, holds no JSON of its type, or fails its book's
// check. Get reports that and leaves the file. Take renames the file to <name>.bad: it is reported once, and nothing is
// lost. An owner uses Take where it goes on without the file, and Get where
//
//   - the value comes again by itself and replaces the file: node taints, kept API objects, pulled images;
//   - the file must stop the owner: a pod's user IDs, which nobody else may get;
//   - the file says by being there that something may be mounted: a CSI volume's vol_data.json.
//
// An error of the file system is not garbled content. The file stays, and the owner may try again.
package book
