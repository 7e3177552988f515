-- Wireshark dissector for BranchCache: MS-PCCRD, MS-PCCRR, MS-PCHC, MS-PCCRTP and the content information of MS-PCCRC.
-- How to install and use it is in docs/dissector.md. Licence: MIT OR Apache-2.0.
--
-- Made by `cargo xtask dissector` from the field tables of the project's decoder and the files in
-- pcaps/dissector/parts. Change those, not this.

local facts, tables, fields = {}, {}, {}
local basic = {}
local sha2 = {}
local walk = {}
local check = {}
local xml = {}
local discovery = {}
local http = {}
local pairing = {}
local exchange = {}
local unfinished = {}
local summary = {}
local wireshark = {}
facts.retrieval_path = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/"
facts.hosted_cache_path_1 = "/C574AC30-5794-4AEE-B1BB-6651C5315029/"
facts.hosted_cache_path_2 = "/0131501b-d67f-491b-9a40-c4bf27bcb4d4/"
facts.discovery_port = 3702
facts.max_datagram_size = 65535
facts.max_ids = 255
facts.max_identity_size = 256
facts.datagram_elements = { "To", "Action", "MessageID", "RelatesTo", "Address", "Types", "Scopes", "XAddrs", "MetadataVersion", "BlockCount", "SegmentAges" }
facts.shown_headers = { "Host", "Accept-Encoding", "Content-Encoding", "Range", "If-Range", "If-Match", "Content-Range", "Content-Length", "ETag", "Last-Modified" }
facts.header_parameters = { "Version", "ContentLength", "MissingDataRequest", "MinContentInformation", "MaxContentInformation", "MakeHashRequest", "HashRequest" }

tables.list = {}

tables.list[1] = {
  name = "SegmentDescription", prefix = "pccrc",
  protocol = "MS-PCCRC", section = "2.3.1.1",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "ullOffsetInContent", kind = "integer", width = 8, little = true },
    { name = "cbSegment", kind = "integer", width = 4, little = true, rules = { { "between", 1, 33554432 } } },
    { name = "cbBlockSize", kind = "integer", width = 4, little = true, rules = { { "is", 65536 } } },
    { name = "SegmentHashOfData", kind = "bytes", hash_of = "dwHashAlgo" },
    { name = "SegmentSecret", kind = "bytes", hash_of = "dwHashAlgo" },
  },
}

tables.list[2] = {
  name = "SegmentContentBlocks", prefix = "pccrc",
  protocol = "MS-PCCRC", section = "2.3.1.2",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "cBlocks", kind = "integer", width = 4, little = true },
    { name = "BlockHashes", kind = "array", item = { name = "BlockHash", kind = "bytes", hash_of = "dwHashAlgo" }, counted_by = "cBlocks" },
  },
}

tables.list[3] = {
  name = "CONTENT_INFORMATION_1.0", prefix = "pccrc",
  protocol = "MS-PCCRC", section = "2.3",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = { "Segments1", "Range1", "BlockLists1" },
  fields = {
    { name = "Version", kind = "integer", width = 2, little = true, rules = { { "is", 256 } } },
    { name = "dwHashAlgo", kind = "integer", width = 4, little = true, values = { [32780] = "SHA-256", [32781] = "SHA-384", [32782] = "SHA-512" }, rules = { { "known" } } },
    { name = "dwOffsetInFirstSegment", kind = "integer", width = 4, little = true },
    { name = "dwReadBytesInLastSegment", kind = "integer", width = 4, little = true },
    { name = "cSegments", kind = "integer", width = 4, little = true, rules = { { "between", 1, 4294967295 } } },
    { name = "segments", kind = "array", item = { name = "SegmentDescription", kind = "structure", structure = tables.list[1] }, counted_by = "cSegments" },
    { name = "blocks", kind = "array", item = { name = "SegmentContentBlocks", kind = "structure", structure = tables.list[2] }, counted_by = "cSegments" },
  },
}

tables.list[4] = {
  name = "SegmentDescription", prefix = "pccrc",
  protocol = "MS-PCCRC", section = "2.4.1.2",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "cbSegment", kind = "integer", width = 4, rules = { { "between", 1, 131072 } } },
    { name = "SegmentHashOfData", kind = "bytes", size = 32 },
    { name = "SegmentSecret", kind = "bytes", size = 32 },
  },
}

tables.list[5] = {
  name = "CHUNK", prefix = "pccrc",
  protocol = "MS-PCCRC", section = "2.4.1.1",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "bChunkType", kind = "integer", width = 1, rules = { { "is", 0 } } },
    { name = "dwChunkDataLength", kind = "integer", width = 4, rules = { { "multiple", 68 } } },
    { name = "segments", kind = "array", item = { name = "SegmentDescription", kind = "structure", structure = tables.list[4] }, within = "dwChunkDataLength" },
  },
}

tables.list[6] = {
  name = "CONTENT_INFORMATION_2.0", prefix = "pccrc",
  protocol = "MS-PCCRC", section = "2.4",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = { "Segments2", "Range2" },
  fields = {
    { name = "bMinorVersion", kind = "integer", width = 1, rules = { { "is", 0 } } },
    { name = "bMajorVersion", kind = "integer", width = 1, rules = { { "is", 2 } } },
    { name = "bHashAlgo", kind = "integer", width = 1, values = { [4] = "truncated SHA-512" }, rules = { { "is", 4 } } },
    { name = "ullStartInContent", kind = "integer", width = 8 },
    { name = "ullIndexOfFirstSegment", kind = "integer", width = 8 },
    { name = "dwOffsetInFirstSegment", kind = "integer", width = 4 },
    { name = "ullLengthOfRange", kind = "integer", width = 8 },
    { name = "chunks", kind = "array", item = { name = "CHUNK", kind = "structure", structure = tables.list[5] }, least = 1 },
  },
}

tables.list[7] = {
  name = "MESSAGE_HEADER", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.3",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "ProtVer", kind = "integer", width = 4, version = true },
    { name = "MsgType", kind = "integer", width = 4, values = { [0] = "MSG_NEGO_REQ", [1] = "MSG_NEGO_RESP", [2] = "MSG_GETBLKLIST", [3] = "MSG_GETBLKS", [4] = "MSG_BLKLIST", [5] = "MSG_BLK", [6] = "MSG_GETSEGLIST", [7] = "MSG_SEGLIST" }, rules = { { "known" } } },
    { name = "MsgSize", kind = "integer", width = 4, rules = { { "size_of_message" } } },
    { name = "CryptoAlgoId", kind = "integer", width = 4, values = { [0] = "No_Encryption", [1] = "AES_128", [2] = "AES_192", [3] = "AES_256" }, rules = { { "known" } } },
  },
}

tables.list[8] = {
  name = "MSG_NEGO_REQ", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.4.1",
  max_size = 98304, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 0, tolerated = false }, { field = "ProtVer", value = 1, tolerated = true } },
  checks = {},
  fields = {
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "MinSupportedProtocolVersion", kind = "integer", width = 4, version = true },
    { name = "MaxSupportedProtocolVersion", kind = "integer", width = 4, version = true },
  },
}

tables.list[9] = {
  name = "TRANSPORT_RESPONSE_HEADER", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.2",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "Size", kind = "integer", width = 4, rules = { { "size_of_rest" } } },
  },
}

tables.list[10] = {
  name = "MSG_NEGO_RESP", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.5.1",
  max_size = 393220, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 1, tolerated = false }, { field = "ProtVer", value = 1, tolerated = true } },
  checks = {},
  fields = {
    { name = "TRANSPORT_RESPONSE_HEADER", kind = "structure", structure = tables.list[9] },
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "MinSupportedProtocolVersion", kind = "integer", width = 4, version = true },
    { name = "MaxSupportedProtocolVersion", kind = "integer", width = 4, version = true },
  },
}

tables.list[11] = {
  name = "BLOCK_RANGE", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.1.1",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "Index", kind = "integer", width = 4 },
    { name = "Count", kind = "integer", width = 4 },
  },
}

tables.list[12] = {
  name = "MSG_GETBLKLIST", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.4.2",
  max_size = 98304, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 2, tolerated = false }, { field = "ProtVer", value = 1, tolerated = true } },
  checks = { "RequestedRanges" },
  fields = {
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "SizeOfSegmentID", kind = "integer", width = 4, rules = { { "between", 1, 64 } } },
    { name = "SegmentID", kind = "bytes", sized_by = "SizeOfSegmentID" },
    { name = "ZeroPad", kind = "zero_pad" },
    { name = "NeededBlocksRangeCount", kind = "integer", width = 4, rules = { { "between", 0, 256 } } },
    { name = "NeededBlockRanges", kind = "array", item = { name = "BLOCK_RANGE", kind = "structure", structure = tables.list[11] }, counted_by = "NeededBlocksRangeCount" },
  },
}

tables.list[13] = {
  name = "MSG_GETBLKS", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.4.3",
  max_size = 98304, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 3, tolerated = false }, { field = "ProtVer", value = 1, tolerated = true } },
  checks = { "RequestedRanges", "OneBlock" },
  fields = {
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "SizeOfSegmentID", kind = "integer", width = 4, rules = { { "between", 1, 64 } } },
    { name = "SegmentID", kind = "bytes", sized_by = "SizeOfSegmentID" },
    { name = "ZeroPad", kind = "zero_pad" },
    { name = "ReqBlockRangeCount", kind = "integer", width = 4, rules = { { "between", 0, 256 } } },
    { name = "ReqBlockRanges", kind = "array", item = { name = "BLOCK_RANGE", kind = "structure", structure = tables.list[11] }, counted_by = "ReqBlockRangeCount" },
    { name = "SizeOfDataForVrfBlock", kind = "integer", width = 4, rules = { { "should_be", 0 } } },
    { name = "DataForVrfBlock", kind = "bytes", sized_by = "SizeOfDataForVrfBlock" },
  },
}

tables.list[14] = {
  name = "MSG_BLKLIST", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.5.2",
  max_size = 393220, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 4, tolerated = false }, { field = "ProtVer", value = 1, tolerated = true } },
  checks = { "BlockRanges" },
  fields = {
    { name = "TRANSPORT_RESPONSE_HEADER", kind = "structure", structure = tables.list[9] },
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "SizeOfSegmentId", kind = "integer", width = 4, rules = { { "between", 1, 64 } } },
    { name = "SegmentId", kind = "bytes", sized_by = "SizeOfSegmentId" },
    { name = "ZeroPad", kind = "zero_pad" },
    { name = "BlockRangeCount", kind = "integer", width = 4, rules = { { "between", 0, 512 } } },
    { name = "BlockRanges", kind = "array", item = { name = "BLOCK_RANGE", kind = "structure", structure = tables.list[11] }, counted_by = "BlockRangeCount" },
    { name = "NextBlockIndex", kind = "integer", width = 4 },
  },
}

tables.list[15] = {
  name = "MSG_BLK", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.5.3",
  max_size = 393220, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 5, tolerated = false }, { field = "ProtVer", value = 1, tolerated = true } },
  checks = { "InitialisationVector" },
  fields = {
    { name = "TRANSPORT_RESPONSE_HEADER", kind = "structure", structure = tables.list[9] },
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "SizeOfSegmentId", kind = "integer", width = 4, rules = { { "between", 1, 64 } } },
    { name = "SegmentId", kind = "bytes", sized_by = "SizeOfSegmentId" },
    { name = "ZeroPad", kind = "zero_pad" },
    { name = "BlockIndex", kind = "integer", width = 4 },
    { name = "NextBlockIndex", kind = "integer", width = 4 },
    { name = "SizeOfBlock", kind = "integer", width = 4 },
    { name = "Block", kind = "bytes", sized_by = "SizeOfBlock" },
    { name = "ZeroPad_2", kind = "zero_pad" },
    { name = "SizeOfVrfBlock", kind = "integer", width = 4, rules = { { "should_be", 0 } } },
    { name = "VrfBlock", kind = "bytes", sized_by = "SizeOfVrfBlock" },
    { name = "ZeroPad_3", kind = "zero_pad" },
    { name = "SizeOfIVBlock", kind = "integer", width = 4 },
    { name = "IVBlock", kind = "bytes", sized_by = "SizeOfIVBlock" },
  },
}

tables.list[16] = {
  name = "SegmentID", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.4.4",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "SizeOfSegmentID", kind = "integer", width = 4, rules = { { "between", 1, 64 } } },
    { name = "SegmentID", kind = "bytes", sized_by = "SizeOfSegmentID" },
    { name = "ZeroPad", kind = "zero_pad" },
  },
}

tables.list[17] = {
  name = "ENCODED_SEGMENT_AGE", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.1.5",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "SegmentIndex", kind = "integer", width = 1 },
    { name = "SegmentAge", kind = "integer", width = 3, little = true },
  },
}

tables.list[18] = {
  name = "EXTENSIBLE_BLOB", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.6.1",
  max_size = 134217728, tail_padding = 0, open_end = true,
  constants = {},
  checks = {},
  fields = {
    { name = "ExtensibleBlobVersion", kind = "integer", width = 2, rules = { { "is", 1 } } },
    { name = "SegmentAgeUnits", kind = "integer", width = 1, values = { [1] = "seconds", [2] = "tenths of seconds", [3] = "hundredths of seconds", [4] = "milliseconds" }, rules = { { "known" } } },
    { name = "SegmentAgeCount", kind = "integer", width = 1 },
    { name = "SegmentAges", kind = "array", item = { name = "ENCODED_SEGMENT_AGE", kind = "structure", structure = tables.list[17] }, counted_by = "SegmentAgeCount" },
  },
}

tables.list[19] = {
  name = "MSG_GETSEGLIST", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.4.4",
  max_size = 98304, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 6, tolerated = false }, { field = "ProtVer", value = 2, tolerated = true } },
  checks = {},
  fields = {
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "RequestID", kind = "bytes", size = 16 },
    { name = "CountOfSegmentIDs", kind = "integer", width = 4, rules = { { "between", 1, 12283 } } },
    { name = "SegmentIDs", kind = "array", item = { name = "SegmentID", kind = "structure", structure = tables.list[16] }, counted_by = "CountOfSegmentIDs" },
    { name = "SizeOfExtensibleBlob", kind = "integer", width = 4 },
    { name = "ExtensibleBlob", kind = "structure", structure = tables.list[18], sized_by = "SizeOfExtensibleBlob" },
  },
}

tables.list[20] = {
  name = "SEGMENT_RANGE", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.1.2",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "Index", kind = "integer", width = 4 },
    { name = "Count", kind = "integer", width = 4 },
  },
}

tables.list[21] = {
  name = "MSG_SEGLIST", prefix = "pccrr",
  protocol = "MS-PCCRR", section = "2.2.5.4",
  max_size = 393220, tail_padding = 3, open_end = false,
  constants = { { field = "MsgType", value = 7, tolerated = false }, { field = "ProtVer", value = 2, tolerated = true } },
  checks = { "SegmentRanges" },
  fields = {
    { name = "TRANSPORT_RESPONSE_HEADER", kind = "structure", structure = tables.list[9] },
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[7] },
    { name = "RequestID", kind = "bytes", size = 16 },
    { name = "SegmentRangeCount", kind = "integer", width = 4, rules = { { "between", 0, 12283 } } },
    { name = "SegmentRanges", kind = "array", item = { name = "SEGMENT_RANGE", kind = "structure", structure = tables.list[20] }, counted_by = "SegmentRangeCount" },
    { name = "SizeOfExtensibleBlob", kind = "integer", width = 4, may_end = true },
    { name = "ExtensibleBlob", kind = "structure", structure = tables.list[18], sized_by = "SizeOfExtensibleBlob" },
  },
}

tables.list[22] = {
  name = "MESSAGE_HEADER", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.1.1",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "MinorVersion", kind = "integer", width = 1 },
    { name = "MajorVersion", kind = "integer", width = 1 },
    { name = "Type", kind = "integer", width = 2, values = { [1] = "INITIAL_OFFER_MESSAGE", [2] = "SEGMENT_INFO_MESSAGE", [3] = "BATCHED_OFFER_MESSAGE" }, rules = { { "known" } } },
    { name = "Padding", kind = "bytes", size = 4 },
  },
}

tables.list[23] = {
  name = "CONNECTION_INFORMATION", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.1.2",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "Port", kind = "integer", width = 2 },
    { name = "Padding", kind = "bytes", size = 6 },
  },
}

tables.list[24] = {
  name = "INITIAL_OFFER_MESSAGE", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.1.3",
  max_size = 34816, tail_padding = 0, open_end = false,
  constants = { { field = "MinorVersion", value = 0, tolerated = false }, { field = "MajorVersion", value = 1, tolerated = false }, { field = "Type", value = 1, tolerated = false } },
  checks = {},
  fields = {
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[22] },
    { name = "CONNECTION_INFORMATION", kind = "structure", structure = tables.list[23] },
    { name = "Hash", kind = "bytes", rest = true, sizes = { 32, 48, 64 } },
  },
}

tables.list[25] = {
  name = "SegmentInformation", prefix = "pccrc",
  protocol = "MS-PCCRC", section = "2.3",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = { "OfferedSegment" },
  fields = {
    { name = "Version", kind = "integer", width = 2, little = true, rules = { { "is", 256 } } },
    { name = "dwHashAlgo", kind = "integer", width = 4, little = true, values = { [32780] = "SHA-256", [32781] = "SHA-384", [32782] = "SHA-512" }, rules = { { "known" } } },
    { name = "dwOffsetInFirstSegment", kind = "integer", width = 4, little = true },
    { name = "dwReadBytesInLastSegment", kind = "integer", width = 4, little = true },
    { name = "cSegments", kind = "integer", width = 4, little = true, rules = { { "is", 1 } } },
    { name = "segments", kind = "array", item = { name = "SegmentDescription", kind = "structure", structure = tables.list[1] }, counted_by = "cSegments" },
    { name = "blocks", kind = "array", item = { name = "SegmentContentBlocks", kind = "structure", structure = tables.list[2] }, counted_by = "cSegments" },
  },
}

tables.list[26] = {
  name = "SEGMENT_INFO_MESSAGE", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.1.4",
  max_size = 34816, tail_padding = 0, open_end = false,
  constants = { { field = "MinorVersion", value = 0, tolerated = false }, { field = "MajorVersion", value = 1, tolerated = false }, { field = "Type", value = 2, tolerated = false } },
  checks = {},
  fields = {
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[22] },
    { name = "CONNECTION_INFORMATION", kind = "structure", structure = tables.list[23] },
    { name = "ContentTag", kind = "bytes", size = 16 },
    { name = "SegmentInformation", kind = "structure", structure = tables.list[25], rest = true },
  },
}

tables.list[27] = {
  name = "SegmentDescriptor", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.1.5",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = { "Descriptor" },
  fields = {
    { name = "BlockSize", kind = "integer", width = 4 },
    { name = "SegmentSize", kind = "integer", width = 4, rules = { { "between", 1, 33554432 } } },
    { name = "SizeOfContentTag", kind = "integer", width = 2, rules = { { "is", 16 } } },
    { name = "ContentTag", kind = "bytes", sized_by = "SizeOfContentTag" },
    { name = "HashAlgorithm", kind = "integer", width = 1, values = { [1] = "SHA-256", [4] = "truncated SHA-512" }, rules = { { "known" } } },
    { name = "SegmentHoHoDk", kind = "bytes", size = 32 },
  },
}

tables.list[28] = {
  name = "BATCHED_OFFER_MESSAGE", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.1.5",
  max_size = 34816, tail_padding = 0, open_end = false,
  constants = { { field = "MinorVersion", value = 0, tolerated = false }, { field = "MajorVersion", value = 2, tolerated = false }, { field = "Type", value = 3, tolerated = false } },
  checks = {},
  fields = {
    { name = "MESSAGE_HEADER", kind = "structure", structure = tables.list[22] },
    { name = "CONNECTION_INFORMATION", kind = "structure", structure = tables.list[23] },
    { name = "SegmentDescriptors", kind = "array", item = { name = "SegmentDescriptor", kind = "structure", structure = tables.list[27] }, least = 1, most = 128 },
  },
}

tables.list[29] = {
  name = "TRANSPORT_HEADER", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.2.1",
  max_size = 134217728, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "Size", kind = "integer", width = 4, rules = { { "size_of_rest" } } },
  },
}

tables.list[30] = {
  name = "RESPONSE_MESSAGE", prefix = "pchc",
  protocol = "MS-PCHC", section = "2.2.2",
  max_size = 34816, tail_padding = 0, open_end = false,
  constants = {},
  checks = {},
  fields = {
    { name = "TRANSPORT_HEADER", kind = "structure", structure = tables.list[29] },
    { name = "ResponseCode", kind = "integer", width = 1, values = { [0] = "OK", [1] = "INTERESTED" }, rules = { { "known" } } },
  },
}

tables.by_name = {
  ["CONTENT_INFORMATION_1.0"] = tables.list[3],
  ["CONTENT_INFORMATION_2.0"] = tables.list[6],
  ["MSG_NEGO_REQ"] = tables.list[8],
  ["MSG_NEGO_RESP"] = tables.list[10],
  ["MSG_GETBLKLIST"] = tables.list[12],
  ["MSG_GETBLKS"] = tables.list[13],
  ["MSG_BLKLIST"] = tables.list[14],
  ["MSG_BLK"] = tables.list[15],
  ["MSG_GETSEGLIST"] = tables.list[19],
  ["MSG_SEGLIST"] = tables.list[21],
  ["INITIAL_OFFER_MESSAGE"] = tables.list[24],
  ["SEGMENT_INFO_MESSAGE"] = tables.list[26],
  ["BATCHED_OFFER_MESSAGE"] = tables.list[28],
  ["RESPONSE_MESSAGE"] = tables.list[30],
  ["EXTENSIBLE_BLOB"] = tables.list[18],
}

-- Filter, name, type, names of values, meaning.
fields.declared = {
  { "pccrc._rest", "_rest", "BYTES", nil, "bytes that could not be read, or have no meaning" },
  { "pccrc.bchunktype", "bChunkType", "UINT8", nil, "0" },
  { "pccrc.bhashalgo", "bHashAlgo", "UINT8", { [4] = "truncated SHA-512" }, "hash of every value here" },
  { "pccrc.blockhash", "BlockHash", "BYTES", nil, "hash of a block" },
  { "pccrc.blockhashes", "BlockHashes", "NONE", nil, "the hashes, in block order" },
  { "pccrc.blocks", "blocks", "NONE", nil, "their block hashes" },
  { "pccrc.bmajorversion", "bMajorVersion", "UINT8", nil, "2" },
  { "pccrc.bminorversion", "bMinorVersion", "UINT8", nil, "0, which comes first" },
  { "pccrc.cbblocksize", "cbBlockSize", "UINT32", nil, "bytes of a block" },
  { "pccrc.cblocks", "cBlocks", "UINT32", nil, "how many hashes" },
  { "pccrc.cbsegment", "cbSegment", "UINT32", nil, "bytes of the segment" },
  { "pccrc.chunks", "chunks", "NONE", nil, "the segments, in chunks" },
  { "pccrc.csegments", "cSegments", "UINT32", nil, "how many segments" },
  { "pccrc.dwchunkdatalength", "dwChunkDataLength", "UINT32", nil, "bytes that follow" },
  { "pccrc.dwhashalgo", "dwHashAlgo", "UINT32", { [32780] = "SHA-256", [32781] = "SHA-384", [32782] = "SHA-512" }, "hash of every value here" },
  { "pccrc.dwoffsetinfirstsegment", "dwOffsetInFirstSegment", "UINT32", nil, "where the range begins in the first segment" },
  { "pccrc.dwreadbytesinlastsegment", "dwReadBytesInLastSegment", "UINT32", nil, "bytes of the range in the last segment, 0 for all" },
  { "pccrc.segmenthashofdata", "SegmentHashOfData", "BYTES", nil, "HoD: hash over all block hashes" },
  { "pccrc.segments", "segments", "NONE", nil, "the segments" },
  { "pccrc.segmentsecret", "SegmentSecret", "BYTES", nil, "Kp, the key of the blocks" },
  { "pccrc.ullindexoffirstsegment", "ullIndexOfFirstSegment", "UINT64", nil, "which segment of the content the first one is" },
  { "pccrc.ulllengthofrange", "ullLengthOfRange", "UINT64", nil, "bytes of the range, 0 for all" },
  { "pccrc.ulloffsetincontent", "ullOffsetInContent", "UINT64", nil, "where the segment begins in the content" },
  { "pccrc.ullstartincontent", "ullStartInContent", "UINT64", nil, "where the first segment begins in the content" },
  { "pccrc.version", "Version", "UINT16", nil, "0x0100" },
  { "pccrd._rest", "_rest", "BYTES", nil, "bytes that could not be read, or have no meaning" },
  { "pccrd.action", "Action", "STRING", nil, "text of the element" },
  { "pccrd.address", "Address", "STRING", nil, "text of the element" },
  { "pccrd.availability", "Availability", "BYTES", nil, "two bits for each segment of the Probe" },
  { "pccrd.blockcount", "BlockCount", "UINT32", nil, "how many blocks of a segment are held" },
  { "pccrd.blockcount.text", "BlockCount", "STRING", nil, "as it stands in the message" },
  { "pccrd.blockcounts", "BlockCounts", "NONE", nil, "how many blocks of each segment are held" },
  { "pccrd.instanceid", "InstanceId", "UINT64", nil, "a number in decimal digits" },
  { "pccrd.instanceid.text", "InstanceId", "STRING", nil, "as it stands in the message" },
  { "pccrd.matchby", "MatchBy", "STRING", nil, "rule by which Scopes are matched" },
  { "pccrd.messageid", "MessageID", "STRING", nil, "text of the element" },
  { "pccrd.messagenumber", "MessageNumber", "UINT64", nil, "a number in decimal digits" },
  { "pccrd.messagenumber.text", "MessageNumber", "STRING", nil, "as it stands in the message" },
  { "pccrd.metadataversion", "MetadataVersion", "UINT64", nil, "a number in decimal digits" },
  { "pccrd.metadataversion.text", "MetadataVersion", "STRING", nil, "as it stands in the message" },
  { "pccrd.relatesto", "RelatesTo", "STRING", nil, "text of the element" },
  { "pccrd.scopes", "Scopes", "STRING", nil, "text of the element" },
  { "pccrd.segmentages", "SegmentAges", "STRING", nil, "text of the element" },
  { "pccrd.segmenthashcount", "SegmentHashCount", "UINT8", nil, "how many segment ids" },
  { "pccrd.segmenthashsize", "SegmentHashSize", "UINT16", nil, "bytes of a segment id" },
  { "pccrd.segmentid", "SegmentID", "BYTES", nil, "HoHoDk of a segment" },
  { "pccrd.segmentids", "SegmentIDs", "NONE", nil, "the segments that are asked for, or held" },
  { "pccrd.to", "To", "STRING", nil, "text of the element" },
  { "pccrd.types", "Types", "STRING", nil, "text of the element" },
  { "pccrd.xaddrs", "XAddrs", "STRING", nil, "text of the element" },
  { "pccrr._rest", "_rest", "BYTES", nil, "bytes that could not be read, or have no meaning" },
  { "pccrr.block", "Block", "BYTES", nil, "the block, encrypted as CryptoAlgoId says" },
  { "pccrr.blockindex", "BlockIndex", "UINT32", nil, "which block" },
  { "pccrr.blockrangecount", "BlockRangeCount", "UINT32", nil, "how many ranges" },
  { "pccrr.blockranges", "BlockRanges", "NONE", nil, "the ranges of blocks" },
  { "pccrr.count", "Count", "UINT32", nil, "how many blocks" },
  { "pccrr.countofsegmentids", "CountOfSegmentIDs", "UINT32", nil, "how many segments" },
  { "pccrr.cryptoalgoid", "CryptoAlgoId", "UINT32", { [0] = "No_Encryption", [1] = "AES_128", [2] = "AES_192", [3] = "AES_256" }, "cipher of the block" },
  { "pccrr.dataforvrfblock", "DataForVrfBlock", "BYTES", nil, "not used" },
  { "pccrr.extensibleblob", "ExtensibleBlob", "NONE", nil, "ages of segments" },
  { "pccrr.extensibleblobversion", "ExtensibleBlobVersion", "UINT16", nil, "version of the blob" },
  { "pccrr.index", "Index", "UINT32", nil, "first block" },
  { "pccrr.ivblock", "IVBlock", "BYTES", nil, "initialisation vector" },
  { "pccrr.maxsupportedprotocolversion", "MaxSupportedProtocolVersion", "STRING", nil, "highest version" },
  { "pccrr.message_header", "MESSAGE_HEADER", "NONE", nil, "begins every message" },
  { "pccrr.minsupportedprotocolversion", "MinSupportedProtocolVersion", "STRING", nil, "lowest version" },
  { "pccrr.msgsize", "MsgSize", "UINT32", nil, "bytes of the message with this header" },
  { "pccrr.msgtype", "MsgType", "UINT32", { [0] = "MSG_NEGO_REQ", [1] = "MSG_NEGO_RESP", [2] = "MSG_GETBLKLIST", [3] = "MSG_GETBLKS", [4] = "MSG_BLKLIST", [5] = "MSG_BLK", [6] = "MSG_GETSEGLIST", [7] = "MSG_SEGLIST" }, "type of the message" },
  { "pccrr.neededblockranges", "NeededBlockRanges", "NONE", nil, "the ranges of blocks" },
  { "pccrr.neededblocksrangecount", "NeededBlocksRangeCount", "UINT32", nil, "how many ranges" },
  { "pccrr.nextblockindex", "NextBlockIndex", "UINT32", nil, "without an agreed meaning" },
  { "pccrr.protver", "ProtVer", "STRING", nil, "protocol version of the message's type" },
  { "pccrr.reqblockrangecount", "ReqBlockRangeCount", "UINT32", nil, "how many ranges" },
  { "pccrr.reqblockranges", "ReqBlockRanges", "NONE", nil, "the ranges of blocks" },
  { "pccrr.requestid", "RequestID", "BYTES", nil, "chosen by the client, echoed by the server" },
  { "pccrr.segmentage", "SegmentAge", "UINT24", nil, "age in SegmentAgeUnits, the low byte first" },
  { "pccrr.segmentagecount", "SegmentAgeCount", "UINT8", nil, "how many ages" },
  { "pccrr.segmentages", "SegmentAges", "NONE", nil, "the ages" },
  { "pccrr.segmentageunits", "SegmentAgeUnits", "UINT8", { [1] = "seconds", [2] = "tenths of seconds", [3] = "hundredths of seconds", [4] = "milliseconds" }, "unit of the ages" },
  { "pccrr.segmentid", "SegmentID", "BYTES", nil, "HoHoDk of the segment" },
  { "pccrr.segmentids", "SegmentIDs", "NONE", nil, "the segments" },
  { "pccrr.segmentindex", "SegmentIndex", "UINT8", nil, "position from the first segment of the message on" },
  { "pccrr.segmentrangecount", "SegmentRangeCount", "UINT32", nil, "how many ranges" },
  { "pccrr.segmentranges", "SegmentRanges", "NONE", nil, "the positions" },
  { "pccrr.size", "Size", "UINT32", nil, "bytes that follow" },
  { "pccrr.sizeofblock", "SizeOfBlock", "UINT32", nil, "bytes of Block; 0 where the server does not hold it" },
  { "pccrr.sizeofdataforvrfblock", "SizeOfDataForVrfBlock", "UINT32", nil, "bytes of DataForVrfBlock" },
  { "pccrr.sizeofextensibleblob", "SizeOfExtensibleBlob", "UINT32", nil, "bytes of ExtensibleBlob" },
  { "pccrr.sizeofivblock", "SizeOfIVBlock", "UINT32", nil, "bytes of IVBlock" },
  { "pccrr.sizeofsegmentid", "SizeOfSegmentID", "UINT32", nil, "bytes of the segment id" },
  { "pccrr.sizeofvrfblock", "SizeOfVrfBlock", "UINT32", nil, "bytes of VrfBlock" },
  { "pccrr.status", "Status", "UINT16", nil, "status of an answer of HTTP" },
  { "pccrr.transport_response_header", "TRANSPORT_RESPONSE_HEADER", "NONE", nil, "stands before every response" },
  { "pccrr.vrfblock", "VrfBlock", "BYTES", nil, "not used" },
  { "pccrr.zeropad", "ZeroPad", "BYTES", nil, "zeros up to the next multiple of 4" },
  { "pccrr.zeropad_2", "ZeroPad_2", "BYTES", nil, "zeros up to the next multiple of 4" },
  { "pccrr.zeropad_3", "ZeroPad_3", "BYTES", nil, "zeros up to the next multiple of 4" },
  { "pccrtp._rest", "_rest", "BYTES", nil, "bytes that could not be read, or have no meaning" },
  { "pccrtp.accept-encoding", "Accept-Encoding", "STRING", nil, "header of HTTP" },
  { "pccrtp.content-encoding", "Content-Encoding", "STRING", nil, "header of HTTP" },
  { "pccrtp.content-length", "Content-Length", "STRING", nil, "header of HTTP" },
  { "pccrtp.content-range", "Content-Range", "STRING", nil, "header of HTTP" },
  { "pccrtp.contentlength", "ContentLength", "UINT64", nil, "bytes of the content that content information stands for" },
  { "pccrtp.contentlength.text", "ContentLength", "STRING", nil, "as it stands in the message" },
  { "pccrtp.etag", "ETag", "STRING", nil, "header of HTTP" },
  { "pccrtp.hashrequest", "HashRequest", "STRING", nil, "parameter of X-P2P-PeerDist or X-P2P-PeerDistEx" },
  { "pccrtp.host", "Host", "STRING", nil, "header of HTTP" },
  { "pccrtp.if-match", "If-Match", "STRING", nil, "header of HTTP" },
  { "pccrtp.if-range", "If-Range", "STRING", nil, "header of HTTP" },
  { "pccrtp.last-modified", "Last-Modified", "STRING", nil, "header of HTTP" },
  { "pccrtp.makehashrequest", "MakeHashRequest", "STRING", nil, "parameter of X-P2P-PeerDist or X-P2P-PeerDistEx" },
  { "pccrtp.maxcontentinformation", "MaxContentInformation", "STRING", nil, "parameter of X-P2P-PeerDist or X-P2P-PeerDistEx" },
  { "pccrtp.method", "Method", "STRING", nil, "method of the request" },
  { "pccrtp.mincontentinformation", "MinContentInformation", "STRING", nil, "parameter of X-P2P-PeerDist or X-P2P-PeerDistEx" },
  { "pccrtp.missingdatarequest", "MissingDataRequest", "STRING", nil, "parameter of X-P2P-PeerDist or X-P2P-PeerDistEx" },
  { "pccrtp.range", "Range", "STRING", nil, "header of HTTP" },
  { "pccrtp.status", "Status", "UINT16", nil, "status of an answer of HTTP" },
  { "pccrtp.target", "Target", "STRING", nil, "what is asked for" },
  { "pccrtp.version", "Version", "STRING", nil, "parameter of X-P2P-PeerDist or X-P2P-PeerDistEx" },
  { "pccrtp.x-p2p-peerdist", "X-P2P-PeerDist", "STRING", nil, "header of HTTP" },
  { "pccrtp.x-p2p-peerdistex", "X-P2P-PeerDistEx", "STRING", nil, "header of HTTP" },
  { "pchc._rest", "_rest", "BYTES", nil, "bytes that could not be read, or have no meaning" },
  { "pchc.blocksize", "BlockSize", "UINT32", nil, "bytes of a block" },
  { "pchc.connection_information", "CONNECTION_INFORMATION", "NONE", nil, "where the client serves blocks" },
  { "pchc.contenttag", "ContentTag", "BYTES", nil, "whose content it is" },
  { "pchc.hash", "Hash", "BYTES", nil, "HoHoDk of the segment" },
  { "pchc.hashalgorithm", "HashAlgorithm", "UINT8", { [1] = "SHA-256", [4] = "truncated SHA-512" }, "hash that made the id" },
  { "pchc.majorversion", "MajorVersion", "UINT8", nil, "major version" },
  { "pchc.message_header", "MESSAGE_HEADER", "NONE", nil, "begins every request" },
  { "pchc.minorversion", "MinorVersion", "UINT8", nil, "minor version, which comes first" },
  { "pchc.padding", "Padding", "BYTES", nil, "without a meaning" },
  { "pchc.port", "Port", "UINT16", nil, "TCP port of the client's retrieval server" },
  { "pchc.responsecode", "ResponseCode", "UINT8", { [0] = "OK", [1] = "INTERESTED" }, "whether it wants more" },
  { "pchc.segmentdescriptors", "SegmentDescriptors", "NONE", nil, "the segments" },
  { "pchc.segmenthohodk", "SegmentHoHoDk", "BYTES", nil, "HoHoDk of the segment" },
  { "pchc.segmentinformation", "SegmentInformation", "NONE", nil, "content information of the one segment" },
  { "pchc.segmentsize", "SegmentSize", "UINT32", nil, "bytes of the segment" },
  { "pchc.size", "Size", "UINT32", nil, "bytes that follow" },
  { "pchc.sizeofcontenttag", "SizeOfContentTag", "UINT16", nil, "bytes of ContentTag" },
  { "pchc.status", "Status", "UINT16", nil, "status of an answer of HTTP" },
  { "pchc.transport_header", "TRANSPORT_HEADER", "NONE", nil, "stands before the response" },
  { "pchc.type", "Type", "UINT16", { [1] = "INITIAL_OFFER_MESSAGE", [2] = "SEGMENT_INFO_MESSAGE", [3] = "BATCHED_OFFER_MESSAGE" }, "type of the message" },
}

------ 01_basic.lua

do

-- Numbers and bytes. Integers of eight bytes are UInt64 objects, all others are numbers. No bit operators and no
-- integer division here: the Lua of Wireshark is 5.2 up to version 4.2 and 5.4 from then on.

-- A number in decimal digits, without a fraction whatever the version of Lua.
function basic.text(value)
  return type(value) == "number" and string.format("%.0f", value) or tostring(value)
end

function basic.counted(count)
  return count == 1 and "1 byte" or basic.text(count) .. " bytes"
end

function basic.big(value)
  return type(value) == "number" and UInt64.new(value) or value
end

-- The integer of `width` bytes behind the first `at` bytes of `s`.
function basic.integer(s, at, width, little)
  if width == 8 then
    local first, second = basic.integer(s, at, 4, little), basic.integer(s, at + 4, 4, little)
    return little and UInt64.new(first, second) or UInt64.new(second, first)
  end
  local value = 0
  for i = 1, width do
    value = value * 256 + s:byte(at + (little and width + 1 - i or i))
  end
  return value
end

-- The sum of two UInt64; nil where it has more than 64 bits.
function basic.checked_add(a, b)
  local sum = a + b
  return sum >= a and sum or nil
end

function basic.saturating_add(a, b)
  return basic.checked_add(a, b) or UInt64.new(0xffffffff, 0xffffffff)
end

function basic.saturating_sub(a, b)
  return a > b and a - b or UInt64.new(0)
end

-- a / b, rounded up, of numbers.
function basic.div_ceil(a, b)
  return math.floor((a + b - 1) / b)
end

-- A whole number that is written in decimal digits, as UInt64; nil where it is none, or has more than 64 bits.
function basic.decimal(text)
  local digits = text:match("^%+?(%d+)$")
  -- One zero stays where there is nothing else.
  digits = digits and digits:sub(digits:find("[1-9]") or #digits)
  if not digits or #digits > 20 or (#digits == 20 and digits > "18446744073709551615") then
    return nil
  end
  local value = UInt64.new(0)
  for digit in digits:gmatch("%d") do
    value = value * UInt64.new(10) + UInt64.new(tonumber(digit))
  end
  return value
end

-- Text without the blanks around it. In linear time: a pattern that has to match up to the end tries every run of
-- blanks inside.
local function trimmed(text, blanks)
  local stop = #text
  while stop > 0 and blanks:find(text:sub(stop, stop), 1, true) do
    stop = stop - 1
  end
  return text:sub(text:find("[^" .. blanks .. "]") or 1, stop)
end

-- The white space of XML (1.0, 2.3) and of lists in it.
function basic.trim_xml(text)
  return trimmed(text, " \t\r\n")
end

-- The white space around the values of headers (RFC 9110 5.6.3).
function basic.trim_http(text)
  return trimmed(text, " \t")
end

-- The bytes that hexadecimal digits stand for, or nil.
function basic.from_hex(text)
  if #text % 2 ~= 0 or text:find("[^%x]") then
    return nil
  end
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

function basic.to_hex(bytes)
  return (bytes:gsub(".", function(byte) return string.format("%02X", byte:byte()) end))
end

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local VALUES = {}
for i = 1, #DIGITS do
  VALUES[DIGITS:byte(i)] = i - 1
end

-- The bytes of base64 (RFC 4648, 4), or nil. The padding may be left out, unless `is_strict`.
function basic.from_base64(text, is_strict)
  local digits, padding = text:match("^([%w+/]*)(=*)$")
  local over = digits and #digits % 4
  if is_strict and digits and (over + #padding) % 4 ~= 0 then
    return nil
  end
  if not digits or over == 1 or #padding > 2 or (#padding > 0 and over + #padding ~= 4) then
    return nil
  end
  local parts = {}
  for at = 1, #digits, 4 do
    local value, count = 0, math.min(4, #digits - at + 1)
    for i = 0, 3 do
      value = value * 64 + (i < count and VALUES[digits:byte(at + i)] or 0)
    end
    local left = value % 2 ^ (8 * (4 - count))
    if left ~= 0 then
      return nil
    end
    local three = string.char(math.floor(value / 65536), math.floor(value / 256) % 256, value % 256)
    parts[#parts + 1] = three:sub(1, count - 1)
  end
  return table.concat(parts)
end

end

------ 02_sha2.lua

do

-- SHA-256, SHA-384, SHA-512 (FIPS 180-4) and HMAC (RFC 2104) on strings: Wireshark has no hashes for Lua.

-- BitOp up to Lua 5.2; operators from 5.3 on, which 5.2 cannot read.
local ops = bit or bit32 or load([[return {
  band = function(a, b) return a & b end,
  bxor = function(a, b, c) return a ~ b ~ (c or 0) end,
  rshift = function(a, n) return (a & 0xffffffff) >> n end,
  lshift = function(a, n) return a << n & 0xffffffff end,
}]])()
local band, bxor, rshift, lshift = ops.band, ops.bxor, ops.rshift, ops.lshift
local WORD = 2 ^ 32

-- The first `count` primes have the constants: fractions of their square and cube roots.
local function primes(count)
  local found, candidate = {}, 2
  while #found < count do
    local is_prime = true
    for _, prime in ipairs(found) do
      is_prime = is_prime and candidate % prime ~= 0
    end
    if is_prime then
      found[#found + 1] = candidate
    end
    candidate = candidate + 1
  end
  return found
end

-- The first 64 bits of the fraction of the `power`-th root of `n`, as two words. Found bit by bit, with whole numbers
-- of 16 bits a digit, as a number has 53 bits only.
local function multiply(a, b)
  local product = {}
  for i = 1, #a + #b do
    product[i] = 0
  end
  for i = 1, #a do
    local carry = 0
    for j = 1, #b do
      local sum = product[i + j - 1] + a[i] * b[j] + carry
      product[i + j - 1], carry = sum % 65536, math.floor(sum / 65536)
    end
    product[i + #b] = product[i + #b] + carry
  end
  return product
end

local function is_at_most(product, n, digits)
  -- `digits` digits of the product are behind the point.
  local whole, fraction = 0, false
  for i = #product, 1, -1 do
    if i > digits then
      whole = whole * 65536 + product[i]
    else
      fraction = fraction or product[i] > 0
    end
  end
  return whole < n or (whole == n and not fraction)
end

local function root(n, power)
  -- Five digits, the least significant first: four behind the point and one before it.
  local value = { 0, 0, 0, 0, 0 }
  for digit = 5, 1, -1 do
    for position = 15, 0, -1 do
      value[digit] = value[digit] + 2 ^ position
      local product = multiply(value, value)
      if power == 3 then
        product = multiply(product, value)
      end
      if not is_at_most(product, n, 4 * power) then
        value[digit] = value[digit] - 2 ^ position
      end
    end
  end
  return value[4] * 65536 + value[3], value[2] * 65536 + value[1]
end

local K = {}
local function constants()
  if #K == 0 then
    for i, prime in ipairs(primes(80)) do
      local high, low = root(prime, 3)
      K[i] = { math.floor(high), math.floor(low) }
    end
  end
  return K
end

local STARTS = {}
local function start(from)
  if not STARTS[from] then
    local words, all = {}, primes(16)
    for i = 1, 8 do
      local high, low = root(all[from + i - 1], 2)
      words[i] = { math.floor(high), math.floor(low) }
    end
    STARTS[from] = words
  end
  return STARTS[from]
end

-- The message with its padding, for blocks of so many bytes.
local function padded(message, block)
  local zeros = -(#message + 1 + block / 8) % block
  local size = {}
  local bits = #message * 8
  for i = block / 8, 1, -1 do
    size[i] = string.char(bits % 256)
    bits = math.floor(bits / 256)
  end
  return message .. "\128" .. ("\0"):rep(zeros) .. table.concat(size)
end

local function words_of(s, at, count)
  local words = {}
  for i = 1, count do
    local a, b, c, d = s:byte(at + 4 * i - 3, at + 4 * i)
    words[i] = ((a * 256 + b) * 256 + c) * 256 + d
  end
  return words
end

local function to_bytes(words)
  local out = {}
  for i, word in ipairs(words) do
    out[i] = string.char(math.floor(word / 16777216) % 256, math.floor(word / 65536) % 256,
      math.floor(word / 256) % 256, word % 256)
  end
  return table.concat(out)
end

local function turn(x, n)
  return bxor(rshift(x, n), lshift(x, 32 - n))
end

function sha2.sha256(message)
  local k, state = constants(), {}
  for i, word in ipairs(start(1)) do
    state[i] = word[1]
  end
  local s = padded(message, 64)
  for at = 0, #s - 1, 64 do
    local w = words_of(s, at, 16)
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      local s0 = bxor(turn(x, 7), turn(x, 18), rshift(x, 3))
      local s1 = bxor(turn(y, 17), turn(y, 19), rshift(y, 10))
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) % WORD
    end
    local a, b, c, d, e, f, g, h = state[1], state[2], state[3], state[4], state[5], state[6], state[7], state[8]
    for i = 1, 64 do
      local s1 = bxor(turn(e, 6), turn(e, 11), turn(e, 25))
      local one = h + s1 + bxor(g, band(e, bxor(f, g))) + k[i][1] + w[i]
      local s0 = bxor(turn(a, 2), turn(a, 13), turn(a, 22))
      local two = s0 + bxor(band(a, bxor(b, c)), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, (d + one) % WORD, c, b, a, (one + two) % WORD
    end
    for i, value in ipairs({ a, b, c, d, e, f, g, h }) do
      state[i] = (state[i] + value) % WORD
    end
  end
  return to_bytes(state)
end

-- Words of 64 bits are two numbers, the upper half first.
local function turn64(high, low, n)
  if n > 32 then
    high, low, n = low, high, n - 32
  end
  return bxor(rshift(high, n), lshift(low, 32 - n)), bxor(rshift(low, n), lshift(high, 32 - n))
end

local function sigma(high, low, first, second, third, is_shift)
  local ah, al = turn64(high, low, first)
  local bh, bl = turn64(high, low, second)
  local ch, cl
  if is_shift then
    ch, cl = rshift(high, third), bxor(rshift(low, third), lshift(high, 32 - third))
  else
    ch, cl = turn64(high, low, third)
  end
  return bxor(ah, bh, ch), bxor(al, bl, cl)
end

-- The sum of pairs; the halves may be negative, as BitOp has them.
local function sum(high, low)
  low = low % (WORD * WORD)
  return (high + math.floor(low / WORD)) % WORD, low % WORD
end

local function sha512_from(from, message)
  local k, state = constants(), {}
  for i, word in ipairs(start(from)) do
    state[i] = { word[1], word[2] }
  end
  local s = padded(message, 128)
  for at = 0, #s - 1, 128 do
    local halves, wh, wl = words_of(s, at, 32), {}, {}
    for i = 1, 16 do
      wh[i], wl[i] = halves[2 * i - 1], halves[2 * i]
    end
    for i = 17, 80 do
      local ah, al = sigma(wh[i - 15], wl[i - 15], 1, 8, 7, true)
      local bh, bl = sigma(wh[i - 2], wl[i - 2], 19, 61, 6, true)
      wh[i], wl[i] = sum(wh[i - 16] + ah + wh[i - 7] + bh, wl[i - 16] + al % WORD + wl[i - 7] + bl % WORD)
    end
    local v = {}
    for i = 1, 8 do
      v[i] = { state[i][1], state[i][2] }
    end
    for i = 1, 80 do
      local a, b, c, d, e, f, g, h = v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]
      local s1h, s1l = sigma(e[1], e[2], 14, 18, 41)
      local chh, chl = bxor(g[1], band(e[1], bxor(f[1], g[1]))), bxor(g[2], band(e[2], bxor(f[2], g[2])))
      local oneh = h[1] + s1h + chh + k[i][1] + wh[i]
      local onel = h[2] + s1l % WORD + chl % WORD + k[i][2] + wl[i]
      local s0h, s0l = sigma(a[1], a[2], 28, 34, 39)
      local majh = bxor(band(a[1], bxor(b[1], c[1])), band(b[1], c[1]))
      local majl = bxor(band(a[2], bxor(b[2], c[2])), band(b[2], c[2]))
      local eh, el = sum(d[1] + oneh, d[2] + onel)
      local ah, al = sum(oneh + s0h + majh, onel + s0l % WORD + majl % WORD)
      v = { { ah, al }, a, b, c, { eh, el }, e, f, g }
    end
    for i = 1, 8 do
      state[i][1], state[i][2] = sum(state[i][1] + v[i][1], state[i][2] + v[i][2])
    end
  end
  local words = {}
  for _, pair in ipairs(state) do
    words[#words + 1], words[#words + 2] = pair[1], pair[2]
  end
  return to_bytes(words)
end

function sha2.sha512(message)
  return sha512_from(1, message)
end

function sha2.sha384(message)
  return sha512_from(9, message):sub(1, 48)
end

function sha2.truncated_sha512(message)
  return sha2.sha512(message):sub(1, 32)
end

local function hmac(hash, block, key, message)
  key = #key > block and hash(key) or key
  local inner, outer = {}, {}
  for i = 1, block do
    local byte = key:byte(i) or 0
    inner[i], outer[i] = string.char(bxor(byte, 0x36)), string.char(bxor(byte, 0x5c))
  end
  return hash(table.concat(outer) .. hash(table.concat(inner) .. message))
end

function sha2.of_version_1(algorithm)
  local names = { [0x800C] = "sha256", [0x800D] = "sha384", [0x800E] = "sha512" }
  return sha2[names[algorithm]]
end

-- HoHoDk (MS-PCCRC 2.2); `algorithm` is dwHashAlgo, nil for version 2.
function sha2.segment_id(algorithm, secret, hash_of_data)
  local constant = "M\0S\0_\0P\0002\0P\0_\0C\0A\0C\0H\0I\0N\0G\0\0\0"
  if not algorithm then
    return hmac(sha2.sha512, 128, secret, hash_of_data .. constant):sub(1, 32)
  end
  local hash = sha2.of_version_1(algorithm) or sha2.sha256
  return hmac(hash, hash == sha2.sha256 and 64 or 128, secret, hash_of_data .. constant)
end

end

------ 03_walk.lua

do

-- Bytes to trees: a table is walked along the bytes, as far as they go, and what is broken is noted on the way. What
-- it says is what `peerdist decode` says, word by word.
--
-- A node is { name, offset, size, value, kind, prefix }; `value` of the kinds `record` and `list` has the nodes inside.

local REST = "_rest"
local MAX_FAULTS = 64
-- The decoder reads ten times as many; the tree of Wireshark is slow long before that.
local MAX_NODES = 100000

local HASH_SIZES = { [0x800C] = 32, [0x800D] = 48, [0x800E] = 64 }

local Walk = {}
Walk.__index = Walk

function walk.version_text(value)
  return basic.text(value % 65536) .. "." .. basic.text(math.floor(value / 65536))
end

local function number(field, value)
  if field.version then
    return walk.version_text(value)
  end
  local name = field.values and field.values[value]
  return name and basic.text(value) .. " (" .. name .. ")" or basic.text(value)
end

function walk.section(structure)
  return structure.protocol .. " " .. structure.section
end

function walk.dissect(structure, s)
  local self = setmetatable({
    root = structure, section = structure, faults = {}, path = {}, scope = {}, lenient = false, nodes = 0,
  }, Walk)
  local reader, out = { s = s, at = 0, stop = #s }, {}
  if #s > structure.max_size then
    self:fault(0, basic.text(#s) .. " bytes, where " .. basic.text(structure.max_size) .. " are the most", false)
  end
  if self:fields(structure, reader, out) then
    self:finish(structure, reader, out)
  end
  return {
    name = structure.name, prefix = structure.prefix, protocol = structure.protocol, section = structure.section,
    size = #s, fields = out, faults = self.faults, is_short = self.is_short,
  }
end

local function left(reader)
  return reader.stop - reader.at
end

-- Every function here returns whether the rest of the message can be read.
function Walk:fields(structure, reader, out)
  local outer = self.section
  self.section = structure
  local start = reader.at
  for _, field in ipairs(structure.fields) do
    if field.may_end and left(reader) == 0 then
      self:rest(reader, out)
      break
    end
    self.path[#self.path + 1] = field.name
    if not self:field(field, reader, start, out) then
      return false
    end
    self.path[#self.path] = nil
  end
  for _, name in ipairs(structure.checks) do
    check[name](out, self)
  end
  self.section = outer
  return true
end

-- What follows the last field of a message.
function Walk:finish(structure, reader, out)
  local count = left(reader)
  if count == 0 then
    return
  end
  if not structure.open_end then
    local zeros = count <= structure.tail_padding and not reader.s:sub(reader.at + 1, reader.stop):find("[^\0]")
    self:fault(reader.at, basic.counted(count) .. " left over behind the last field", zeros)
  end
  self:rest(reader, out, structure)
end

function Walk:field(field, reader, start, out)
  local offset, kind, value = reader.at, field.kind, nil
  self.nodes = self.nodes + 1
  if self.nodes > MAX_NODES then
    self:fault(offset, "only " .. basic.text(MAX_NODES) .. " fields are read of one message", true)
    self:rest(reader, out)
    return false
  end
  if kind == "structure" then
    return self:structure(field, reader, out)
  elseif kind == "array" then
    return self:array(field, reader, out)
  elseif kind == "integer" then
    if not self:take(field.width, reader, out) then
      return false
    end
    value = basic.integer(reader.s, offset, field.width, field.little)
    self.scope[#self.scope + 1] = { field.name, value }
    self:integer_rules(field, value, offset, start, left(reader))
  elseif kind == "zero_pad" then
    value = self:take(-offset % 4, reader, out)
    if not value then
      return false
    end
    if value:find("[^\0]") then
      self:fault(offset, "padding that is not zero", true)
    end
  else
    local size = field.size
    if field.sized_by then
      size = self:number(field.sized_by)
    elseif field.hash_of then
      size = HASH_SIZES[self:number(field.hash_of)]
      if not size then
        return self:stop("its size is unknown, as the hash is", reader, out)
      end
    elseif field.rest then
      size = left(reader)
    end
    value = self:take(size, reader, out)
    if not value then
      return false
    end
    self:size_rule(field, offset, #value)
  end
  kind = kind == "integer" and kind or "bytes"
  out[#out + 1] = {
    name = field.name, offset = offset, size = reader.at - offset, value = value, kind = kind, field = field,
    prefix = self.section.prefix,
  }
  return true
end

function Walk:size_rule(field, offset, size)
  if not field.sizes then
    return
  end
  for _, due in ipairs(field.sizes) do
    if due == size then
      return
    end
  end
  local due = "[" .. table.concat(field.sizes, ", ") .. "]"
  self:fault(offset, basic.counted(size) .. ", where one of " .. due .. " is due", false)
end

function Walk:structure(field, reader, out)
  local offset, inner, prefix = reader.at, {}, self.section.prefix
  local structure = field.structure
  local node = { name = field.name, offset = offset, value = inner, kind = "record", field = field, prefix = prefix }
  if not (field.sized_by or field.rest) then
    local outcome = self:fields(structure, reader, inner)
    node.size = reader.at - offset
    out[#out + 1] = node
    return outcome
  end
  local wanted = field.rest and left(reader) or self:number(field.sized_by)
  local size = math.min(wanted, left(reader))
  local part = { s = reader.s, at = offset, stop = offset + size }
  reader.at = offset + size
  if wanted > 0 or field.rest then
    local depth, section, lenient = #self.path, self.section, self.lenient
    self.lenient = lenient or structure.open_end
    if self:fields(structure, part, inner) then
      self:finish(structure, part, inner)
    end
    self:truncate(self.path, depth)
    self.lenient, self.section = lenient, section
  end
  node.size = size
  out[#out + 1] = node
  if wanted > size then
    return self:stop(basic.counted(wanted) .. " announced, " .. basic.text(size) .. " left", reader, out)
  end
  return true
end

function Walk:array(field, reader, out)
  local offset, items, outcome = reader.at, {}, true
  -- Where an item cannot be read, `self.section` stays that of a structure inside.
  local prefix = self.section.prefix
  if field.counted_by then
    outcome = self:items(field.item, reader, items, self:number(field.counted_by))
  elseif field.within then
    local wanted = self:number(field.within)
    local size = math.min(wanted, left(reader))
    local part = { s = reader.s, at = offset, stop = offset + size }
    reader.at = offset + size
    local depth, section, known = #self.path, self.section, #self.scope
    -- What cannot be read there ends with it.
    if not self:items(field.item, part, items, nil) then
      self:truncate(self.path, depth)
      self:truncate(self.scope, known)
      self.section = section
    end
    if wanted > size then
      self:fault(offset, basic.counted(wanted) .. " announced, " .. basic.text(size) .. " left", false)
    end
  else
    outcome = self:items(field.item, reader, items, nil)
  end
  if outcome and field.least and (#items < field.least or (field.most and #items > field.most)) then
    local most = field.most and basic.text(field.most) or "more"
    self:fault(offset, #items .. " items, where " .. basic.text(field.least) .. " to " .. most .. " are due", false)
  end
  out[#out + 1] = {
    name = field.name, offset = offset, size = reader.at - offset, value = items, kind = "list", field = field,
    prefix = prefix,
  }
  return outcome
end

-- `count` items, or as many as there are bytes for.
function Walk:items(item, reader, items, count)
  local start, known = reader.at, #self.scope
  while (count and #items < count) or (not count and left(reader) > 0) do
    self.path[#self.path + 1] = #items
    local one = {}
    local outcome = self:field(item, reader, start, one)
    for _, node in ipairs(one) do
      if node.name == REST then
        -- The bytes in the place of an item that could not be read.
        node = {
          name = item.name, offset = node.offset, size = node.size, value = { node }, kind = "record",
          prefix = node.prefix,
        }
      end
      items[#items + 1] = node
    end
    if not outcome then
      return false
    end
    self.path[#self.path] = nil
    self:truncate(self.scope, known)
  end
  return true
end

function Walk:truncate(list, count)
  for i = #list, count + 1, -1 do
    list[i] = nil
  end
end

function Walk:take(size, reader, out)
  if size > left(reader) then
    self.is_short = true
    self:stop("cut off: " .. basic.counted(size) .. " needed, " .. basic.text(left(reader)) .. " left", reader, out)
    return nil
  end
  local at = reader.at
  reader.at = at + size
  return reader.s:sub(at + 1, at + size)
end

-- Puts what is left into the tree and says why it stays unread.
function Walk:stop(rule, reader, out)
  self:fault(reader.at, rule, false)
  self:rest(reader, out)
  return false
end

function Walk:rest(reader, out, structure)
  out[#out + 1] = {
    name = REST, offset = reader.at, size = left(reader), value = reader.s:sub(reader.at + 1, reader.stop),
    kind = "bytes", prefix = (structure or self.section).prefix,
  }
  reader.at = reader.stop
end

function Walk:number(name)
  for i = #self.scope, 1, -1 do
    if self.scope[i][1] == name then
      return self.scope[i][2]
    end
  end
  return 0
end

function Walk:integer_rules(field, value, offset, start, after)
  for _, constant in ipairs(self.root.constants) do
    if constant.field == field.name then
      if constant.value ~= value then
        local due = " has " .. number(field, constant.value)
        self:fault(offset, number(field, value) .. ", where " .. self.root.name .. due, constant.tolerated)
      end
      break
    end
  end
  for _, rule in ipairs(field.rules or {}) do
    local what, first, second = rule[1], rule[2], rule[3]
    local shown, size = basic.text(value), offset - start + field.width + after
    local text, tolerated = nil, false
    if what == "is" and value ~= first then
      text = shown .. ", where " .. basic.text(first) .. " is due"
    elseif what == "should_be" and value ~= first then
      text, tolerated = shown .. ", where " .. basic.text(first) .. " is expected", true
    elseif what == "known" and field.values and not field.values[value] then
      text = shown .. " has no meaning"
    elseif what == "between" and (value < first or value > second) then
      text = shown .. ", where " .. basic.text(first) .. " to " .. basic.text(second) .. " are allowed"
    elseif what == "multiple" and (value == 0 or value % first ~= 0) then
      text = shown .. " is no positive multiple of " .. basic.text(first)
    elseif what == "size_of_rest" and value ~= after then
      text = shown .. ", but " .. basic.counted(after) .. " follow"
    elseif what == "size_of_message" and value ~= size then
      text = shown .. ", but the message has " .. basic.counted(size)
    end
    if text then
      self:fault(offset, text, tolerated)
    end
  end
end

-- Notes a broken rule, at the field that is being read.
function Walk:fault(offset, rule, tolerated)
  local field = ""
  for _, part in ipairs(self.path) do
    if type(part) == "number" then
      field = field .. "[" .. part .. "]"
    else
      field = field == "" and part or field .. "." .. part
    end
  end
  local count = #self.faults
  if count + 1 == MAX_FAULTS then
    field, rule, tolerated = "", "more rules are broken from here on", false
  elseif count >= MAX_FAULTS then
    return
  else
    tolerated = tolerated or self.lenient
  end
  self.faults[count + 1] = {
    offset = offset, field = field, rule = rule, section = walk.section(self.section), tolerated = tolerated,
  }
end

-- Notes a broken rule between fields; `field` is named within the structure that is being read.
function Walk:broken(offset, field, rule, tolerated)
  local before = #self.faults
  self:fault(offset, rule, tolerated)
  local fault = self.faults[before + 1]
  if fault and before + 1 < MAX_FAULTS then
    fault.field = (fault.field == "" or field == "") and fault.field .. field or fault.field .. "." .. field
  end
end

-- The first node of this name, wherever it is.
function walk.find(nodes, name)
  for _, node in ipairs(nodes) do
    if node.name == name then
      return node
    end
    local inside = node.inside or ((node.kind == "record" or node.kind == "list") and node.value)
    local found = inside and walk.find(inside, name)
    if found then
      return found
    end
  end
end

-- The number in the field of this name, or nil.
function walk.integer(nodes, name)
  local node = walk.find(nodes, name)
  return node and node.kind == "integer" and node.value or nil
end

end

------ 04_check.lua

do

-- The rules between fields, under their names in the tables. They look at the tree alone.

local BLOCK_SIZE, SEGMENT_SIZE, LARGEST_BLOCK = 65536, 33554432, 131072
local MAX_BLOCKS = 512
local END_OF_CONTENT = UInt64.new(0, 0x80000000)
-- The most block hashes of one message that are hashed, in bytes: here this is slow.
local MAX_HASHED = 1048576

local function node(fields, name)
  for _, field in ipairs(fields) do
    if field.name == name then
      return field
    end
  end
end

local function get(fields, name)
  local found = node(fields, name)
  return found and found.kind == "integer" and found.value or 0
end

local function items(fields, name)
  local found = node(fields, name)
  return found and type(found.value) == "table" and found.value or {}
end

local function offset(fields, name)
  local found = node(fields, name)
  return found and found.offset or 0
end

-- The fields of an item; none of one that could not be read.
local function inside(item)
  return item and type(item.value) == "table" and item.value or {}
end

local function ranges(fields, walker, limit, tolerated)
  local list
  for _, name in ipairs({ "NeededBlockRanges", "ReqBlockRanges", "BlockRanges", "SegmentRanges" }) do
    list = list or node(fields, name)
  end
  for position, range in ipairs(list and list.value or {}) do
    local index, count = get(inside(range), "Index"), get(inside(range), "Count")
    local rule
    if count == 0 then
      rule = "an empty range"
    elseif limit and index + count > limit then
      rule = basic.text(count) .. " blocks from " .. basic.text(index) .. " on, where a segment has "
        .. MAX_BLOCKS .. " at most"
    elseif index + count > 0xffffffff then
      rule = basic.text(count) .. " positions from " .. basic.text(index) .. " on end beyond 32 bits"
    end
    if rule then
      walker:broken(range.offset, list.name .. "[" .. (position - 1) .. "]", rule, tolerated)
    end
  end
end

function check.BlockRanges(fields, walker)
  ranges(fields, walker, MAX_BLOCKS, false)
end

function check.RequestedRanges(fields, walker)
  ranges(fields, walker, MAX_BLOCKS, true)
end

function check.SegmentRanges(fields, walker)
  ranges(fields, walker, nil, false)
end

function check.OneBlock(fields, walker)
  local list, blocks = items(fields, "ReqBlockRanges"), 0
  for _, range in ipairs(list) do
    blocks = blocks + get(inside(range), "Count")
  end
  if #list ~= 1 or blocks ~= 1 then
    local rule = basic.text(blocks) .. " blocks in " .. #list .. " ranges, where one block is due"
    walker:broken(offset(fields, "ReqBlockRangeCount"), "ReqBlockRanges", rule, true)
  end
end

function check.InitialisationVector(fields, walker)
  local algorithm = get(items(fields, "MESSAGE_HEADER"), "CryptoAlgoId")
  local is_encrypted = algorithm ~= 0 and get(fields, "SizeOfBlock") ~= 0
  local size = get(fields, "SizeOfIVBlock")
  if size ~= 16 and (is_encrypted or size ~= 0) then
    local rule = "an initialisation vector of " .. basic.text(size) .. " bytes, where 16 are due"
    walker:broken(offset(fields, "SizeOfIVBlock"), "SizeOfIVBlock", rule, false)
  end
end

local function ends_beyond(start, size)
  local last = basic.checked_add(start, size)
  return not last or last > END_OF_CONTENT
end

function check.Segments1(fields, walker)
  local segments, expected = items(fields, "segments"), nil
  for index, item in ipairs(segments) do
    local segment = inside(item)
    local start, size = basic.big(get(segment, "ullOffsetInContent")), get(segment, "cbSegment")
    local function broken(field, rule)
      walker:broken(offset(segment, field), "segments[" .. (index - 1) .. "]." .. field, rule, false)
    end
    if expected then
      if start ~= expected then
        broken("ullOffsetInContent", tostring(start) .. ", where the segment before ends at " .. tostring(expected))
      end
    elseif start % UInt64.new(SEGMENT_SIZE) ~= UInt64.new(0) then
      broken("ullOffsetInContent", tostring(start) .. " is no multiple of " .. SEGMENT_SIZE)
    end
    if index < #segments and size ~= SEGMENT_SIZE then
      broken("cbSegment", basic.text(size) .. ", where every segment but the last has " .. SEGMENT_SIZE)
    end
    if ends_beyond(start, basic.big(size)) then
      broken("ullOffsetInContent", "the segment ends beyond 2^63")
    end
    expected = basic.saturating_add(start, basic.big(size))
  end
end

-- Where the range begins and ends in the content, as far as the fields make sense.
local function described(fields)
  local segments = items(fields, "segments")
  if #segments == 0 then
    return nil
  end
  local first, last = inside(segments[1]), inside(segments[#segments])
  local in_first = basic.big(get(fields, "dwOffsetInFirstSegment"))
  local start = basic.checked_add(basic.big(get(first, "ullOffsetInContent")), in_first)
  local last_start = basic.big(get(last, "ullOffsetInContent"))
  local stop = basic.checked_add(last_start, basic.big(get(last, "cbSegment")))
  if not start or not stop then
    return nil
  end
  local read = get(fields, "dwReadBytesInLastSegment")
  if read ~= 0 then
    stop = basic.checked_add(#segments == 1 and start or last_start, basic.big(read))
  end
  if stop then
    return start, stop
  end
end

local function offset_in_first(fields, size, walker)
  local field = "dwOffsetInFirstSegment"
  local value = get(fields, field)
  if value >= size then
    local rule = basic.text(value) .. ", where the first segment has " .. basic.text(size) .. " bytes"
    walker:broken(offset(fields, field), field, rule, false)
  end
end

function check.Range1(fields, walker)
  local segments = items(fields, "segments")
  if #segments == 0 then
    return
  end
  offset_in_first(fields, get(inside(segments[1]), "cbSegment"), walker)
  local _, stop = described(fields)
  local last = inside(segments[#segments])
  local available = basic.saturating_add(basic.big(get(last, "ullOffsetInContent")), basic.big(get(last, "cbSegment")))
  if stop and stop > available then
    local field = "dwReadBytesInLastSegment"
    local rule = "the range ends at " .. tostring(stop) .. ", the last segment at " .. tostring(available)
    walker:broken(offset(fields, field), field, rule, false)
  end
end

-- A complete list of block hashes hashes to HoD.
local function hash_of_data(fields, index, segment, list, walker)
  local hash, hashes = sha2.of_version_1(get(fields, "dwHashAlgo")), {}
  for _, item in ipairs(items(list, "BlockHashes")) do
    hashes[#hashes + 1] = item.kind == "bytes" and item.value or ""
  end
  local known, hashes = node(segment, "SegmentHashOfData"), table.concat(hashes)
  walker.hashed = (walker.hashed or 0) + #hashes
  if hash and known and walker.hashed <= MAX_HASHED and known.value ~= hash(hashes) then
    local field = "segments[" .. index .. "].SegmentHashOfData"
    walker:broken(known.offset, field, "the block hashes do not hash to it", false)
  end
end

function check.BlockLists1(fields, walker)
  local start, stop = described(fields)
  local segments, lists = items(fields, "segments"), items(fields, "blocks")
  for index = 1, start and math.min(#segments, #lists) or 0 do
    local segment, list = inside(segments[index]), lists[index]
    local from, size = basic.big(get(segment, "ullOffsetInContent")), get(segment, "cbSegment")
    local total = basic.div_ceil(size, BLOCK_SIZE)
    local begin = start > from and start or from
    local finish = basic.saturating_add(from, basic.big(size))
    finish = stop < finish and stop or finish
    finish = basic.saturating_sub(basic.saturating_sub(finish, UInt64.new(1)), from)
    local first = math.floor(basic.saturating_sub(begin, from):tonumber() / BLOCK_SIZE)
    local last = math.floor(finish:tonumber() / BLOCK_SIZE)
    local count = get(inside(list), "cBlocks")
    if count ~= total and count ~= last + 1 and count ~= math.max(last - first, 0) + 1 then
      local rule = basic.text(count) .. " blocks, where the range covers blocks " .. basic.text(first) .. " to "
        .. basic.text(last) .. " of " .. basic.text(total)
      walker:broken(list.offset, "blocks[" .. (index - 1) .. "].cBlocks", rule, false)
    elseif count == total then
      hash_of_data(fields, index - 1, segment, inside(list), walker)
    end
  end
end

function check.OfferedSegment(fields, walker)
  local segments, lists = items(fields, "segments"), items(fields, "blocks")
  if #segments == 0 or #lists == 0 then
    return
  end
  local segment, list = inside(segments[1]), lists[1]
  local size = get(segment, "cbSegment")
  if ends_beyond(basic.big(get(segment, "ullOffsetInContent")), basic.big(size)) then
    local field = "ullOffsetInContent"
    walker:broken(offset(segment, field), "segments[0]." .. field, "the segment ends beyond 2^63", false)
  end
  offset_in_first(fields, size, walker)
  local count, total = get(inside(list), "cBlocks"), basic.div_ceil(size, BLOCK_SIZE)
  if count == 0 or count > total then
    local rule = basic.text(count) .. " blocks of a segment that has " .. basic.text(total)
    walker:broken(list.offset, "blocks[0].cBlocks", rule, false)
  elseif count == total then
    hash_of_data(fields, 0, segment, inside(list), walker)
  end
end

-- The segments of all chunks.
local function segments_of_2(fields)
  local all = {}
  for _, chunk in ipairs(items(fields, "chunks")) do
    for _, segment in ipairs(items(inside(chunk), "segments")) do
      all[#all + 1] = segment
    end
  end
  return all
end

function check.Segments2(fields, walker)
  local start, index = basic.big(get(fields, "ullStartInContent")), basic.big(get(fields, "ullIndexOfFirstSegment"))
  local stop = start
  for position, segment in ipairs(segments_of_2(fields)) do
    local size = basic.big(get(inside(segment), "cbSegment"))
    if ends_beyond(stop, size) then
      walker:broken(segment.offset, "chunks", "segment " .. (position - 1) .. " ends beyond 2^63", false)
      return
    end
    stop = stop + size
  end
  local most = UInt64.new(0xffffffff, 0xffffffff)
  local largest = index > most / UInt64.new(LARGEST_BLOCK) and most or index * UInt64.new(LARGEST_BLOCK)
  if start < index or start > largest then
    local field = "ullIndexOfFirstSegment"
    local rule = "the first segment cannot be number " .. tostring(index) .. " and begin at " .. tostring(start)
    walker:broken(offset(fields, field), field, rule, true)
  end
end

function check.Range2(fields, walker)
  local segments, total = segments_of_2(fields), UInt64.new(0)
  if #segments == 0 then
    return
  end
  offset_in_first(fields, get(inside(segments[1]), "cbSegment"), walker)
  for _, segment in ipairs(segments) do
    total = basic.saturating_add(total, basic.big(get(inside(segment), "cbSegment")))
  end
  local available = basic.saturating_sub(total, basic.big(get(fields, "dwOffsetInFirstSegment")))
  local field, length = "ullLengthOfRange", basic.big(get(fields, "ullLengthOfRange"))
  if length > available then
    local rule = tostring(length) .. " bytes, where the segments have " .. tostring(available)
      .. " from the range's begin on"
    walker:broken(offset(fields, field), field, rule, false)
  end
  local last = basic.big(get(inside(segments[#segments]), "cbSegment"))
  if length > UInt64.new(0) and length <= basic.saturating_sub(available, last) and total > last then
    walker:broken(offset(fields, field), field, "the last segment lies behind the range", true)
  end
end

function check.Descriptor(fields, walker)
  local block, segment = get(fields, "BlockSize"), get(fields, "SegmentSize")
  local truncated_sha512 = 4
  if get(fields, "HashAlgorithm") == truncated_sha512 and segment > LARGEST_BLOCK then
    local rule = basic.text(segment) .. ", where a segment of version 2.0 has " .. LARGEST_BLOCK .. " at most"
    walker:broken(offset(fields, "SegmentSize"), "SegmentSize", rule, false)
  end
  local count = block == 0 and 0 or basic.div_ceil(segment, block)
  if count < 1 or count > MAX_BLOCKS or math.min(block, segment) > LARGEST_BLOCK then
    local rule = "blocks of " .. basic.text(block) .. " bytes in a segment of " .. basic.text(segment)
    walker:broken(offset(fields, "BlockSize"), "BlockSize", rule, false)
  end
end

end

------ 05_xml.lua

do

-- XML 1.0 with namespaces, as much of it as SOAP 1.2 allows: a reader of events, and a strict layer over it that knows
-- elements with their namespaces, trimmed text and limits. What is wrong is raised as { rule, field, offset }.

local MAX_DEPTH, MAX_ELEMENTS, MAX_ATTRIBUTES = 16, 256, 32

local NAMESPACES = {
  ["http://www.w3.org/2003/05/soap-envelope"] = "soap",
  ["http://schemas.xmlsoap.org/ws/2004/08/addressing"] = "wsa",
  ["http://schemas.xmlsoap.org/ws/2005/04/discovery"] = "wsd",
  ["http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery"] = "peerdist",
  [""] = "none",
}

local ENTITIES = { lt = "<", gt = ">", amp = "&", apos = "'", quot = '"' }

function xml.fail(rule, field, offset)
  error({ rule = rule, field = field or "", offset = offset or 0 }, 0)
end

-- Whether bytes are UTF-8 (RFC 3629).
function xml.is_utf8(s)
  local at = s:find("[\128-\255]")
  while at do
    local a, b, c, d = s:byte(at, at + 3)
    local function follows(byte)
      return byte and byte >= 0x80 and byte <= 0xbf
    end
    local size
    if a >= 0xc2 and a <= 0xdf and follows(b) then
      size = 2
    elseif a >= 0xe0 and a <= 0xef and follows(b) and follows(c) and not (a == 0xe0 and b < 0xa0)
      and not (a == 0xed and b > 0x9f) then
      size = 3
    elseif a >= 0xf0 and a <= 0xf4 and follows(b) and follows(c) and follows(d) and not (a == 0xf0 and b < 0x90)
      and not (a == 0xf4 and b > 0x8f) then
      size = 4
    else
      return false
    end
    at = s:find("[\128-\255]", at + size)
  end
  return true
end

local function utf8_of(code)
  if code < 0x80 then
    return string.char(code)
  end
  local tail, limit = {}, 0x40
  while code >= limit do
    table.insert(tail, 1, string.char(0x80 + code % 64))
    code = math.floor(code / 64)
    limit = #tail == 1 and 0x20 or limit / 2
  end
  local lead = ({ 0xc0, 0xe0, 0xf0 })[#tail]
  return string.char(lead + code) .. table.concat(tail)
end

-- What `&name;` stands for, or nil.
local function resolve(name)
  local digits = name:match("^#(%d+)$")
  local code = digits and tonumber(digits) or tonumber(name:match("^#x(%x+)$") or "", 16)
  if code then
    local is_character = code > 0 and code <= 0x10ffff and (code < 0xd800 or code > 0xdfff)
    return is_character and utf8_of(code) or nil
  end
  return ENTITIES[name]
end

-- Events of `s`, one a call: { kind, at, stop, name or text, attributes }. `at` and `stop` count the bytes before.
local Events = {}
Events.__index = Events

function xml.events(s)
  return setmetatable({ s = s, at = s:sub(1, 3) == "\239\187\191" and 3 or 0, open = {} }, Events)
end

function Events:next()
  local s, at = self.s, self.at
  if at >= #s then
    return { kind = #self.open == 0 and "eof" or "error", at = at, stop = at }
  end
  local function event(kind, stop, text)
    self.at = stop
    return { kind = kind, at = at, stop = stop, text = text }
  end
  local function until_text(closing, from, kind)
    local first, last = s:find(closing, from, true)
    if not first then
      return event("error", #s)
    end
    return event(kind, last, s:sub(from, first - 1))
  end
  local first = s:sub(at + 1, at + 1)
  if first == "&" then
    local name = s:match("^&([^;&<]*);", at + 1)
    return name and event("reference", at + #name + 2, name) or event("error", at)
  elseif first ~= "<" then
    local stop = (s:find("[<&]", at + 1) or #s + 1) - 1
    return event("text", stop, s:sub(at + 1, stop))
  elseif at + 1 == #s then
    return event("error", at)
  elseif s:sub(at + 1, at + 4) == "<!--" then
    return until_text("-->", at + 5, "comment")
  elseif s:sub(at + 1, at + 9) == "<![CDATA[" then
    return until_text("]]>", at + 10, "cdata")
  elseif s:sub(at + 1, at + 2) == "<!" then
    local is_doctype = s:sub(at + 3, at + 9):upper() == "DOCTYPE"
    return is_doctype and until_text(">", at + 10, "doctype") or event("error", at)
  elseif s:sub(at + 1, at + 2) == "<?" then
    local found = until_text("?>", at + 3, "instruction")
    if found.kind == "instruction" and found.text:match("^xml[ \t\r\n]") then
      found.kind = "declaration"
    end
    return found
  end
  return self:tag(at)
end

-- A start or end tag; quotes may hide the bracket that ends it.
function Events:tag(at)
  local s, stop, quote = self.s, at + 2, nil
  repeat
    local found = s:find(quote or "[\"'>]", stop)
    if not found then
      self.at = #s
      return { kind = "error", at = at, stop = #s }
    end
    local character = s:sub(found, found)
    stop = found + 1
    quote = not quote and character ~= ">" and character or nil
  until character == ">"
  self.at = stop - 1
  local event, inside = { at = at, stop = self.at }, s:sub(at + 2, stop - 2)
  if inside:sub(1, 1) == "/" then
    local is_due = table.remove(self.open) == basic.trim_xml(inside):sub(2)
    event.kind = is_due and "end" or "error"
    return event
  end
  event.kind = inside:sub(-1) == "/" and "empty" or "start"
  inside = event.kind == "empty" and inside:sub(1, -2) or inside
  event.name, event.rest = inside:match("^([^ \t\r\n]*)(.*)$")
  if event.kind == "start" then
    self.open[#self.open + 1] = event.name
  end
  return event
end

-- Names and values as they stand in a tag, and whether that is all there is.
function xml.attributes(rest)
  local found, at, names = {}, 1, {}
  while true do
    local _, skipped = rest:find("^[ \t\r\n]*", at)
    at = skipped + 1
    if at > #rest then
      return found, true
    end
    local name, quote, from = rest:match("^([^ \t\r\n=]+)[ \t\r\n]*=[ \t\r\n]*([\"'])()", at)
    local stop = name and rest:find(quote, from, true)
    if not stop or names[name] then
      return found, false
    end
    names[name] = true
    found[#found + 1] = { name = name, value = rest:sub(from, stop - 1) }
    at = stop + 1
  end
end

-- The value that an attribute stands for; nil with an entity that is not predefined.
function xml.attribute_value(raw)
  local is_good = true
  local value = raw:gsub("\r\n", " "):gsub("[\t\r\n]", " "):gsub("&([^;]*)(;?)", function(name, closed)
    local character = closed == ";" and resolve(name)
    is_good = is_good and character and true or false
    return character or ""
  end)
  return is_good and value or nil
end

function xml.local_name(name)
  return name:match("^[^:]*:(.*)$") or name
end

-- The strict layer.
local Document = {}
Document.__index = Document

function xml.document(s)
  if not xml.is_utf8(s) then
    xml.fail("not UTF-8")
  end
  return setmetatable({ events = xml.events(s), depth = 0, elements = 0, bindings = {} }, Document)
end

function Document:not_well_formed()
  local at = self.events.at
  xml.fail("not well-formed XML near byte " .. at, "", at)
end

function Document:event()
  if self.pending_end then
    self.pending_end = false
    return { kind = "end" }
  end
  local event = self.events:next()
  if event.kind == "doctype" then
    xml.fail("a document type declaration")
  elseif event.kind == "instruction" then
    xml.fail("a processing instruction")
  elseif event.kind == "eof" or event.kind == "error" then
    self:not_well_formed()
  elseif event.kind == "empty" then
    self.pending_end = true
    event.kind = "start"
  end
  return event
end

function Document:lookup(prefix)
  for i = #self.bindings, 1, -1 do
    if self.bindings[i].prefix == prefix then
      return self.bindings[i].namespace
    end
  end
  return prefix == "" and "none" or prefix == "xml" and "other" or nil
end

-- Takes note of the namespaces that an element declares and looks at every attribute once.
function Document:declare(event)
  local attributes, is_whole = xml.attributes(event.rest)
  local prefixes = {}
  for count, attribute in ipairs(attributes) do
    if count > MAX_ATTRIBUTES then
      xml.fail("more than " .. MAX_ATTRIBUTES .. " attributes on one element")
    elseif attribute.value:find("<", 1, true) then
      self:not_well_formed()
    end
    local value = xml.attribute_value(attribute.value)
    if not value then
      xml.fail("an entity that XML does not predefine")
    end
    local declared = attribute.name == "xmlns" and "" or attribute.name:match("^xmlns:(.*)$")
    if declared then
      local is_taken = attribute.name ~= "xmlns" and (declared == "" or declared == "xml" or declared == "xmlns")
      if is_taken or (declared ~= "" and value == "") then
        xml.fail("a namespace prefix without a valid declaration")
      end
      local namespace = NAMESPACES[value] or "other"
      self.bindings[#self.bindings + 1] = { depth = self.depth, prefix = declared, namespace = namespace }
    else
      prefixes[#prefixes + 1] = attribute.name:match("^([^:]*):")
    end
  end
  if not is_whole then
    self:not_well_formed()
  end
  for _, prefix in ipairs(prefixes) do
    if not self:lookup(prefix) then
      xml.fail("a namespace prefix without a valid declaration")
    end
  end
  event.attributes = attributes
end

function Document:open(event)
  self.depth, self.elements = self.depth + 1, self.elements + 1
  if self.depth > MAX_DEPTH then
    xml.fail("more than " .. MAX_DEPTH .. " levels of elements")
  elseif self.elements > MAX_ELEMENTS then
    xml.fail("more than " .. MAX_ELEMENTS .. " elements")
  end
  self:declare(event)
  local prefix, name = event.name:match("^([^:]*):(.*)$")
  name = name or event.name
  if name == "" or name:find(":", 1, true) then
    self:not_well_formed()
  end
  local namespace = self:lookup(prefix or "")
  if not namespace then
    xml.fail("a namespace prefix without a valid declaration")
  end
  return { name = name, namespace = namespace, attributes = event.attributes }
end

function Document:close()
  while #self.bindings > 0 and self.bindings[#self.bindings].depth == self.depth do
    self.bindings[#self.bindings] = nil
  end
  self.depth = self.depth - 1
end

function Document:root()
  local first = true
  while true do
    local event = self:event()
    if event.kind == "start" then
      return self:open(event)
    end
    local is_blank = event.kind == "text" and basic.trim_xml(event.text) == ""
    if not (event.kind == "comment" or is_blank or (first and event.kind == "declaration")) then
      self:not_well_formed()
    end
    first = false
  end
end

-- The next child of the element that is open, or nil when that element has ended. Text between is ignored.
function Document:child()
  while true do
    local event = self:event()
    if event.kind == "start" then
      return self:open(event)
    elseif event.kind == "end" then
      self:close()
      return nil
    elseif event.kind == "reference" then
      if not resolve(event.text) then
        xml.fail("an entity that XML does not predefine")
      end
    elseif event.kind == "declaration" then
      self:not_well_formed()
    end
  end
end

-- The text of the element that is open, without the white space around it; closes the element. `use` is called with
-- the text while the element's own declarations still hold.
function Document:content(use)
  local parts = {}
  while true do
    local event = self:event()
    if event.kind == "end" then
      local text = basic.trim_xml(table.concat(parts))
      local used = use and use(text)
      self:close()
      return text, used
    elseif event.kind == "start" then
      xml.fail("an element inside a text value")
    elseif event.kind == "declaration" then
      self:not_well_formed()
    elseif event.kind == "reference" then
      local character = resolve(event.text)
      if not character then
        xml.fail("an entity that XML does not predefine")
      end
      parts[#parts + 1] = character
    elseif event.kind ~= "comment" then
      parts[#parts + 1] = event.text
    end
  end
end

-- Reads to the end of the element that is open.
function Document:skip()
  local outer = self.depth
  while self.depth >= outer do
    self:child()
  end
end

-- Nothing but white space and comments may follow the root element.
function Document:finish()
  while true do
    local event = self.events:next()
    if event.kind == "eof" and not self.pending_end then
      return
    elseif event.kind == "doctype" then
      xml.fail("a document type declaration")
    elseif not (event.kind == "comment" or (event.kind == "text" and basic.trim_xml(event.text) == "")) then
      self:not_well_formed()
    end
  end
end

function xml.attribute(element, name)
  for _, attribute in ipairs(element.attributes) do
    if attribute.name == name then
      return xml.attribute_value(attribute.value)
    end
  end
end

end

------ 06_discovery.lua

do

-- Probe and ProbeMatches (MS-PCCRD): what is shown of them, and what keeps receivers from taking them.

local OURS = "PeerDist"
local MAX_ELEMENTS = 256
local DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery/"
local RULES = {
  [DISCOVERY .. "strcmp0"] = 1,
  ["http://schemas.microsoft.com/p2p/2010/05/PeerDistV2MatchingRule"] = 2,
}
local TYPES = { PeerDistData = 1, PeerDistDataV2 = 2 }
local BAD_SCOPES = "the Scopes are badly formed"

local SHOWN = {}
for _, name in ipairs(facts.datagram_elements) do
  SHOWN[name] = true
end

-- Whether a datagram to any port is one of WS-Discovery: XML that says so soon.
function discovery.begins(start)
  start = start:gsub("^\239\187\191", "", 1)
  return start:find("^[ \t\n\f\r]*<") ~= nil and start:find(DISCOVERY:sub(1, -2), 1, true) ~= nil
end

local function once(known, value, element)
  if known ~= nil then
    xml.fail(element .. " stands there twice", element)
  end
  return value
end

local function missing(element)
  xml.fail("no " .. element, element)
end

local function identity(text, element)
  -- Control characters of Unicode: those of ASCII, and U+0080 to U+009F.
  local is_printable = not text:find("[\0-\31\127]") and not text:find("\194[\128-\159]")
  if text == "" or #text > facts.max_identity_size or not is_printable then
    xml.fail(element .. " is empty, too long or not printable", element)
  end
  return text
end

local function is_segment_id(bytes)
  return bytes and #bytes >= 1 and #bytes <= 64
end

local function scopes_1(text)
  local ids = {}
  for token in text:gmatch("[^ \t\r\n]+") do
    if #ids == facts.max_ids then
      xml.fail("more than " .. facts.max_ids .. " segment ids", "Scopes")
    end
    local id = basic.from_hex(token)
    if not is_segment_id(id) then
      xml.fail(BAD_SCOPES, "Scopes")
    end
    ids[#ids + 1] = id
  end
  if #ids == 0 then
    xml.fail(BAD_SCOPES, "Scopes")
  end
end

local function scopes_2(text)
  local bytes = basic.from_base64(text)
  if not bytes or #bytes < 3 then
    xml.fail(BAD_SCOPES, "Scopes")
  end
  local size, count = basic.integer(bytes, 0, 2), bytes:byte(3)
  if count == 0 or size < 1 or size > 64 or #bytes ~= 3 + size * count then
    xml.fail(BAD_SCOPES, "Scopes")
  end
end

-- The version of the first BranchCache type of a Types list, or nil.
local function types(document)
  local _, version = document:content(function(text)
    for token in text:gmatch("[^ \t\r\n]+") do
      local prefix, name = token:match("^([^:]*):(.*)$")
      local namespace = document:lookup(prefix or "")
      local literal = token:match("^PeerDist:(PeerDistData[V2]*)$")
      local version = TYPES[literal or (namespace == "peerdist" and (name or token)) or ""]
      if version then
        return version
      end
    end
  end)
  return version
end

local function is(element, namespace, name)
  return element.namespace == namespace and element.name == name
end

local function other_type()
  xml.fail("the Types name no BranchCache service", "Types")
end

local function probe(document)
  local version, scopes, rule
  for child in document.child, document do
    if is(child, "wsd", "Types") then
      version = once(version, types(document) or other_type(), "Types")
    elseif is(child, "wsd", "Scopes") then
      local named = RULES[xml.attribute(child, "MatchBy") or ""]
      local text = document:content()
      scopes, rule = once(scopes, text, "Scopes"), named
    else
      document:skip()
    end
  end
  if not version then
    other_type()
  elseif not scopes then
    missing("Scopes")
  elseif rule ~= version then
    xml.fail("the MatchBy rule is not the one of the Types", "Scopes")
  end
  if version == 1 then scopes_1(scopes) else scopes_2(scopes) end
end

-- One ProbeMatch; whether it is of this protocol.
local function probe_match(document)
  local address, version, scopes, addresses
  for child in document.child, document do
    if is(child, "wsa", "EndpointReference") then
      for part in document.child, document do
        if is(part, "wsa", "Address") then
          address = once(address, identity(document:content(), "Address"), "Address")
        else
          document:skip()
        end
      end
    elseif is(child, "wsd", "Types") then
      local read = types(document)
      version = read and once(version, read, "Types") or version
    elseif is(child, "wsd", "Scopes") then
      scopes = once(scopes, document:content(), "Scopes")
    elseif is(child, "wsd", "XAddrs") then
      addresses = once(addresses, document:content(), "XAddrs")
    elseif is(child, "wsd", "MetadataVersion") then
      document:content()
    elseif child.namespace == "peerdist" and TYPES[child.name] then
      for part in document.child, document do
        if part.namespace == "peerdist" and (part.name == "BlockCount" or part.name == "SegmentAges") then
          document:content()
        else
          document:skip()
        end
      end
    else
      document:skip()
    end
  end
  if not version then
    return false
  elseif not scopes then
    missing("Scopes")
  end
  if version == 1 then
    scopes_1(scopes)
  elseif (basic.from_base64(scopes) or "") == "" then
    xml.fail(BAD_SCOPES, "Scopes")
  end
  if not address then
    missing("Address")
  elseif not addresses then
    missing("XAddrs")
  end
  return true
end

local function other_action()
  xml.fail("neither Probe nor ProbeMatches", "Action")
end

local function body(document, action)
  local child = document:child() or missing("Body")
  if not is(child, "wsd", action) then
    other_action()
  elseif action == "Probe" then
    probe(document)
  else
    local is_ours = false
    for element in document.child, document do
      if is(element, "wsd", "ProbeMatch") then
        is_ours = probe_match(document) or is_ours
      else
        document:skip()
      end
    end
    if not is_ours then
      other_type()
    end
  end
  while document:child() do
    document:skip()
  end
end

local function header(document, known)
  for child in document.child, document do
    if is(child, "wsa", "Action") then
      local text = document:content()
      local action = text == DISCOVERY .. "Probe" and "Probe" or text == DISCOVERY .. "ProbeMatches" and "ProbeMatches"
      known.action = once(known.action, action or other_action(), "Action")
    elseif is(child, "wsa", "MessageID") then
      known.message_id = once(known.message_id, identity(document:content(), "MessageID"), "MessageID")
    elseif is(child, "wsa", "RelatesTo") then
      known.relates_to = once(known.relates_to, identity(document:content(), "RelatesTo"), "RelatesTo")
    else
      document:skip()
    end
  end
end

-- Raises why a datagram is no message of this protocol.
local function judge(s)
  if #s > facts.max_datagram_size then
    xml.fail(#s .. " bytes, at most " .. facts.max_datagram_size)
  end
  local document, known, has_body = xml.document(s), {}, false
  if not is(document:root(), "soap", "Envelope") then
    xml.fail("not a SOAP 1.2 envelope")
  end
  for child in document.child, document do
    if is(child, "soap", "Header") and not has_body then
      header(document, known)
    elseif is(child, "soap", "Body") and not has_body then
      body(document, known.action or missing("Action"))
      has_body = true
    else
      document:skip()
    end
  end
  document:finish()
  if not has_body then
    missing("Body")
  elseif not known.message_id then
    missing("MessageID")
  elseif known.action == "ProbeMatches" and not known.relates_to then
    missing("RelatesTo")
  end
end

-- AppSequence has nothing but attributes; the rule of Scopes is one.
local function attributes(event, out)
  local function add(name, is_number)
    for _, attribute in ipairs((xml.attributes(event.rest))) do
      local value = attribute.name == name and xml.attribute_value(attribute.value)
      if value then
        local node = { name = name, offset = event.at, size = event.stop - event.at, prefix = "pccrd" }
        node.kind, node.value = "text", value
        out[#out + 1] = is_number and discovery.as_number(node) or node
        return
      end
    end
  end
  local name = xml.local_name(event.name)
  if name == "AppSequence" then
    add("InstanceId", true)
    add("MessageNumber", true)
  elseif name == "Scopes" then
    add("MatchBy", false)
  end
end

-- A node of text as a number where it is one.
function discovery.as_number(node)
  local number = basic.decimal(node.value)
  if number then
    node.kind, node.value = "integer", number
  else
    node.key = node.name .. ".text"
  end
  return node
end

-- Every element that the document names; lenient, as far as the XML goes.
local function elements(s)
  local out, open, count, events = {}, nil, 0, xml.events(s)
  while true do
    local event = events:next()
    if event.kind == "start" or event.kind == "empty" then
      count = count + 1
      if count > MAX_ELEMENTS then
        return out
      end
      local name = xml.local_name(event.name)
      open = SHOWN[name] and name or nil
      attributes(event, out)
    elseif event.kind == "text" and open and basic.trim_xml(event.text) ~= "" then
      local value = basic.trim_xml(event.text)
      local skipped = event.text:find("[^ \t\r\n]") - 1
      out[#out + 1] = {
        name = open, offset = event.at + skipped, size = #value, value = value, kind = "text", prefix = "pccrd",
      }
      open = nil
    elseif event.kind == "end" then
      open = nil
    elseif event.kind == "eof" or event.kind == "error" then
      return out
    end
  end
end

-- Opens the values that are more than text. What is inside has its place in `bytes`, which were decoded.
local function open(node, is_v2, is_probe)
  local text, inside, bytes = node.value, {}, ""
  local function add(name, kind, value, offset, size, prefix)
    local child = { name = name, kind = kind, value = value, offset = offset, size = size, prefix = prefix or "pccrd" }
    inside[#inside + 1] = child
    return child
  end
  local function ids_of(list)
    local start, items = #bytes, {}
    for _, id in ipairs(list) do
      items[#items + 1] = {
        name = "SegmentID", kind = "bytes", value = id, offset = #bytes, size = #id, prefix = "pccrd",
      }
      bytes = bytes .. id
    end
    add("SegmentIDs", "list", items, start, #bytes - start)
  end
  if node.name == "Scopes" and not is_v2 then
    local ids = {}
    for token in text:gmatch("[^ \t\r\n]+") do
      ids[#ids + 1] = basic.from_hex(token)
    end
    ids_of(ids)
  elseif node.name == "Scopes" and is_probe then
    local decoded, ids = basic.from_base64(text, true) or "", {}
    if #decoded < 3 then
      return
    end
    bytes = decoded:sub(1, 3)
    local size, count = basic.integer(decoded, 0, 2), decoded:byte(3)
    add("SegmentHashSize", "integer", size, 0, 2)
    add("SegmentHashCount", "integer", count, 2, 1)
    for at = 4, #decoded, math.max(size, 1) do
      if #ids < 255 then
        ids[#ids + 1] = decoded:sub(at, at + math.max(size, 1) - 1)
      end
    end
    ids_of(ids)
  elseif node.name == "Scopes" then
    bytes = basic.from_base64(text, true) or ""
    add("Availability", "bytes", bytes, 0, #bytes)
  elseif node.name == "BlockCount" then
    node.key = "BlockCount.text"
    if #text % 8 ~= 0 or text:find("[\128-\255]") then
      return
    end
    local items = {}
    for digits in text:gmatch("........") do
      local count = digits:find("^%+?%x+$") and tonumber((digits:gsub("%+", "")), 16)
      if count then
        items[#items + 1] = {
          name = "BlockCount", kind = "integer", value = count, offset = #bytes, size = 4, prefix = "pccrd",
        }
        bytes = bytes .. basic.from_hex(string.format("%08X", count))
      end
    end
    add("BlockCounts", "list", items, 0, #bytes)
  elseif node.name == "SegmentAges" then
    bytes = basic.from_base64(text, true) or ""
    for _, child in ipairs(walk.dissect(tables.by_name.EXTENSIBLE_BLOB, bytes).fields) do
      inside[#inside + 1] = child
    end
  elseif node.name == "MetadataVersion" then
    discovery.as_number(node)
    return
  else
    return
  end
  node.inside, node.bytes = inside, bytes
end

-- The tree of a datagram of UDP port 3702; nil where it is some other WS-Discovery message.
function discovery.dissect(s)
  local shown = s:sub(1, facts.max_datagram_size)
  if not shown:find(OURS, 1, true) then
    return nil
  end
  local nodes = xml.is_utf8(shown) and elements(shown) or {}
  local function text(name)
    for _, node in ipairs(nodes) do
      if node.name == name then
        return node.kind == "text" and node.value or ""
      end
    end
    return ""
  end
  local action = text("Action"):gsub("^.*/", "")
  local name, section = "Envelope", "2.2.2"
  if action == "Probe" then
    name, section = "Probe", "2.2.2.1"
  elseif action == "ProbeMatches" then
    name, section = "ProbeMatches", "2.2.2.2"
  end
  local tree = {
    name = name, prefix = "pccrd", protocol = "MS-PCCRD", section = section, size = #shown, fields = nodes, faults = {},
    message_id = text("MessageID"), relates_to = text("RelatesTo"),
  }
  local is_v2 = text("Types"):find("PeerDistDataV2", 1, true)
  for _, node in ipairs(nodes) do
    if node.kind == "text" then
      open(node, is_v2, name == "Probe")
    end
  end
  local is_good, fault = pcall(judge, shown)
  if not is_good then
    if type(fault) ~= "table" then
      error(fault, 0)
    end
    tree.faults[1] = {
      offset = fault.offset, field = fault.field, rule = fault.rule, section = "MS-PCCRD " .. section,
      tolerated = false,
    }
  end
  return tree
end

end

------ 07_http.lua

do

-- Messages of HTTP/1.1 out of the bytes that Wireshark's dissector of HTTP has put together, and the headers of
-- MS-PCCRTP.

local MAX_HEAD = 65536
local MAX_HEADER_SIZE, MAX_HEADER_ELEMENTS = 8192, 64
local ENDS = "the connection or the capture ends before it does"
local PEERDIST, PEERDIST_EX = "X-P2P-PeerDist", "X-P2P-PeerDistEx"
local METHODS = { GET = true, POST = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true, CONNECT = true,
  PATCH = true }

local trim = basic.trim_http

-- Whether bytes begin like a message.
function http.begins(s)
  return http.begins_answer(s) or METHODS[s:match("^(%u+) ") or ""] == true
end

-- Whether bytes begin like an answer.
function http.begins_answer(s)
  return s:find("^HTTP/1%.") ~= nil
end

-- The head at the start of `s`: { method, target, http_1_1 } or { status }, with lines of { offset, name, value } and
-- its size; nil where there is none.
function http.head(s)
  local _, stop = s:find("\r\n\r\n", 1, true)
  if not stop or stop > MAX_HEAD then
    return nil
  end
  local head = { size = stop, lines = {} }
  local first, at = s:match("^([^\r\n]*)\r?\n()")
  if not first then
    return nil
  end
  local status = first:match("^HTTP/1%.[01] (%d%d%d)$") or first:match("^HTTP/1%.[01] (%d%d%d) ")
  if status then
    head.status = tonumber(status)
  else
    local method, target, minor = first:match("^(%u+) (%S+) HTTP/1%.([01])$")
    if not METHODS[method or ""] then
      return nil
    end
    head.method, head.target, head.http_1_1 = method, target, minor == "1"
  end
  while at < stop - 1 do
    local line, after = s:match("^([^\r\n]*)\r?\n()", at)
    local name, value = (line or ""):match("^([^%s:]+):(.*)$")
    if not name then
      return nil
    end
    head.lines[#head.lines + 1] = { offset = at - 1, name = name, value = trim(value) }
    at = after
  end
  return head
end

-- The values of all lines of a header, names compared without regard to case.
local function lines(head, name)
  local found = {}
  for _, line in ipairs(head.lines) do
    if line.name:lower() == name:lower() then
      found[#found + 1] = line.value
    end
  end
  return found
end

local function split(text)
  local parts = {}
  for part in (text .. ","):gmatch("([^,]*),") do
    parts[#parts + 1] = part
  end
  return parts
end

-- Whether a list header names this token.
function http.lists(head, name, token)
  for _, value in ipairs(lines(head, name)) do
    for _, part in ipairs(split(value)) do
      if trim(part):lower() == token then
        return true
      end
    end
  end
  return false
end

local function decode_chunks(s)
  local parts, at = {}, 1
  while true do
    local line, after = s:match("^([^\n]*)\n()", at)
    if not line then
      return table.concat(parts), ENDS
    end
    local digits = trim(line:gsub("\r$", ""):match("^[^;]*"))
    local size = #digits <= 8 and digits:find("^%x+$") and tonumber(digits, 16)
    if not size then
      return table.concat(parts), "the chunks of the body are badly formed"
    elseif size == 0 then
      return table.concat(parts), nil
    end
    parts[#parts + 1] = s:sub(after, after + size - 1)
    if after + size - 1 > #s then
      return table.concat(parts), ENDS
    end
    at = s:match("^\r?\n()", after + size)
    if not at then
      return table.concat(parts), "the chunks of the body are badly formed"
    end
  end
end

local function content_length(head)
  local length = lines(head, "Content-Length")[1]
  return length and tonumber((trim(length):match("^%+?(%d+)$")))
end

-- The size of a message, as far as its head says it.
function http.size(head)
  return head.size + (content_length(head) or 0)
end

-- The body behind a head: its bytes, why they are not all, and where they stand: "behind" the head in `s`, in
-- "data", which is what Wireshark has taken for the body, or nowhere as they are.
function http.body(s, head, data)
  local length = content_length(head)
  if #s <= head.size and data then
    return data, length and #data < length and ENDS or nil, "data"
  elseif http.lists(head, "Transfer-Encoding", "chunked") then
    return decode_chunks(s:sub(head.size + 1))
  elseif not length then
    return head.status and s:sub(head.size + 1) or "", nil, "behind"
  end
  local body = s:sub(head.size + 1, head.size + length)
  return body, #body < length and ENDS or nil, "behind"
end

-- Whether a body that Wireshark has found at an offset can be the one of a head there.
function http.owns(head, head_offset, data_offset)
  if http.lists(head, "Transfer-Encoding", "chunked") then
    return data_offset == 0
  end
  return data_offset == head_offset + head.size and content_length(head) ~= 0
end

-- The path of a request target, which may be a whole URL, in lower case and without the slash at its end.
function http.path(target)
  local rest = target:match("^.-://(.*)$")
  target = rest and (rest:match("/.*$") or "/") or target
  return (target:match("^[^?]*"):lower():gsub("/$", ""))
end

local NAMES = {}
for _, name in ipairs(facts.shown_headers) do
  NAMES[name:lower()] = name
end
local PARAMETERS = {}
for _, name in ipairs(facts.header_parameters) do
  PARAMETERS[name:lower()] = name
end

local function parameters(line)
  local found, at = {}, line.offset + #line.name + 2
  for _, element in ipairs(split(line.value)) do
    local name, value = element:match("^([^=]*)=(.*)$")
    local known = PARAMETERS[trim(name or element):lower()]
    if known then
      local node = {
        name = known, kind = "text", value = trim(value or ""), offset = at, size = #element, prefix = "pccrtp",
      }
      found[#found + 1] = known == "ContentLength" and discovery.as_number(node) or node
    end
    at = at + #element + 1
  end
  return found
end

-- The elements of a list header without the empty ones; nil where it is too long.
local function elements(head, name)
  local size, found = 0, {}
  for _, line in ipairs(lines(head, name)) do
    size = size + #line
    if size > MAX_HEADER_SIZE then
      return nil
    end
    for _, element in ipairs(split(line)) do
      element = trim(element)
      if element ~= "" then
        if #found == MAX_HEADER_ELEMENTS then
          return nil
        end
        found[#found + 1] = element
      end
    end
  end
  return found
end

local function digits(text)
  return #text <= 19 and text:find("^%d+$") and basic.decimal(text) or nil
end

local function version(text)
  local major, minor = text:match("^([^.]*)%.(.*)$")
  major, minor = major and digits(major), minor and digits(minor)
  local most = UInt64.new(0xffffffff)
  if major and minor and major <= most and minor <= most then
    return basic.text(major:tonumber()) .. "." .. basic.text(minor:tonumber())
  end
end

local function boolean(text)
  text = text:lower()
  return (text == "true" or text == "false") and text or nil
end

local READERS = {
  version = version, contentlength = function(text) return digits(text) and tostring(digits(text)) end,
  missingdatarequest = boolean, mincontentinformation = version, maxcontentinformation = version,
  makehashrequest = boolean, hashrequest = boolean,
}

-- The parameters of one of the two headers, in lower case: their values as text, or false where they are there with no
-- value of their type, or with two. nil where the header is too long.
local function read_parameters(head, header, names)
  local found, all = {}, elements(head, header)
  for _, element in ipairs(all or {}) do
    local name, value = element:match("^([^=]*)=(.*)$")
    name = trim(name or element):lower()
    if names[name] then
      local read = READERS[name](trim(value or "")) or false
      if found[name] == nil or found[name] == read then
        found[name] = read
      else
        found[name] = false
      end
    end
  end
  return all and found
end

local OWN = { version = true, contentlength = true, missingdatarequest = true }
local OWN_EX = {
  mincontentinformation = true, maxcontentinformation = true, makehashrequest = true, hashrequest = true,
}

local function parts_of(version)
  local major, minor = version:match("^(%d+)%.(%d+)$")
  return tonumber(major), tonumber(minor)
end

-- Whether `q=…` is a weight above 0 (RFC 9110 12.4.2).
local function is_positive(weight)
  local name, value = weight:match("^([^=]*)=(.*)$")
  if not name or trim(name):lower() ~= "q" then
    return false
  end
  local whole, fraction = trim(value):match("^([^.]*)%.?(.*)$")
  if #fraction > 3 or fraction:find("%D") then
    return false
  end
  local zeros = not fraction:find("[^0]")
  return (whole == "0" and not zeros) or (whole == "1" and zeros)
end

-- Whether Accept-Encoding lists the coding: "none", "no", "yes"; nil where it is too long.
local function acceptance(head)
  if #lines(head, "Accept-Encoding") == 0 then
    return "none"
  end
  local all, found = elements(head, "Accept-Encoding"), "no"
  for _, element in ipairs(all or {}) do
    local coding, weight = element:match("^([^;]*);(.*)$")
    if trim(coding or element):lower() == "peerdist" then
      if weight and not is_positive(weight) then
        return "no"
      end
      found = "yes"
    end
  end
  return all and found
end

-- Which versions of content information a request takes, or nil.
local function content_versions(own, ex)
  local least, most = ex.mincontentinformation, ex.maxcontentinformation
  local is_v1 = (least == nil and most == nil) or (least == "1.0" and most == "1.0")
  local is_both = least == "1.0" and most == "2.0"
  local is_v2 = least == "2.0" and most == "2.0"
  local _, minor = parts_of(own.version)
  return is_v1 or is_both or (is_v2 and minor >= 1)
end

-- What keeps a server from taking a request's headers at their word (MS-PCCRTP 3.2.5.1), or nil.
local function request_fault(head, offers)
  if head.method ~= "GET" then
    return nil
  end
  local own = read_parameters(head, PEERDIST, OWN)
  if not own then
    return "a header is too long"
  elseif own.missingdatarequest == "true" then
    return offers and "MissingDataRequest together with peerdist in Accept-Encoding" or nil
  elseif own.missingdatarequest == false then
    return "MissingDataRequest is neither true nor false"
  end
  local ex = read_parameters(head, PEERDIST_EX, OWN_EX)
  local accepted = ex and acceptance(head)
  if not accepted then
    return "a header is too long"
  elseif accepted == "no" or (accepted == "none" and ex.hashrequest ~= "true") or not head.http_1_1 then
    return nil
  elseif own.version == nil then
    return "X-P2P-PeerDist has no Version"
  elseif own.version == false or parts_of(own.version) ~= 1 then
    return "the PeerDist version is not supported"
  elseif not content_versions(own, ex) then
    return "the versions of content information are not supported"
  end
end

-- First and last byte of a Content-Range, or nil.
local function content_range(head)
  local values = lines(head, "Content-Range")
  for _, value in ipairs(values) do
    if trim(value) ~= trim(values[1]) then
      return nil
    end
  end
  local unit, range, total = trim(values[1] or ""):match("^(%a+)[ \t]([^/]*)/(.*)$")
  local first, last = (range or ""):match("^([^-]*)%-(.*)$")
  if not first or unit:lower() ~= "bytes" then
    return nil
  end
  first, last, total = digits(trim(first)), digits(trim(last)), trim(total)
  local length = digits(total)
  if first and last and first <= last and (total == "*" or (length and last < length)) then
    return first, last
  end
end

-- What keeps a client from taking a response's headers at their word, or nil.
local function response_fault(head)
  local codings = elements(head, "Content-Encoding")
  local is_ours = false
  for _, coding in ipairs(codings or {}) do
    is_ours = is_ours or coding:lower() == "peerdist"
  end
  if not codings then
    return "a header is too long"
  elseif not is_ours then
    return nil
  elseif #codings ~= 1 then
    return "peerdist is stacked with another content coding"
  elseif head.status ~= 200 and head.status ~= 206 then
    return "content information with the status " .. head.status
  end
  for _, value in ipairs(lines(head, "Content-Type")) do
    value = trim(value):lower()
    if value:sub(1, 10) == "multipart/" and value:find("byteranges", 1, true) then
      return "content information as multipart/byteranges"
    end
  end
  local own = read_parameters(head, PEERDIST, OWN)
  if not own then
    return "a header is too long"
  elseif not own.version then
    return "X-P2P-PeerDist has no valid Version"
  end
  local major, minor = parts_of(own.version)
  if major ~= 1 or minor > 1 then
    return "PeerDist version " .. own.version .. " was not offered"
  elseif not own.contentlength or own.contentlength == "0" then
    return "X-P2P-PeerDist has no valid ContentLength"
  elseif head.status == 206 and not content_range(head) then
    return "status 206 without a valid Content-Range"
  end
end

-- The tree of a head; nil where it has nothing of MS-PCCRTP.
function http.dissect(head)
  local function names_coding(name)
    for _, value in ipairs(lines(head, name)) do
      for _, part in ipairs(split(value)) do
        if trim(part:match("^[^;]*")):lower() == "peerdist" then
          return true
        end
      end
    end
    return false
  end
  local offers = names_coding("Accept-Encoding")
  local has_headers = #lines(head, PEERDIST) > 0 or #lines(head, PEERDIST_EX) > 0
  if not (has_headers or offers or names_coding("Content-Encoding")) then
    return nil
  end
  local out, prefix = {}, "pccrtp"
  local function first(name, kind, value)
    out[#out + 1] = { name = name, kind = kind, value = value, offset = 0, size = 0, prefix = prefix }
  end
  if head.method then
    first("Method", "text", head.method)
    first("Target", "text", head.target)
  else
    first("Status", "integer", head.status)
  end
  for _, line in ipairs(head.lines) do
    local lower, node = line.name:lower(), nil
    if lower == PEERDIST:lower() or lower == PEERDIST_EX:lower() then
      local name = lower == PEERDIST:lower() and PEERDIST or PEERDIST_EX
      node = { name = name, kind = "text", value = line.value, inside = parameters(line) }
    elseif NAMES[lower] then
      node = { name = NAMES[lower], kind = "text", value = line.value }
    end
    if node then
      node.offset, node.size, node.prefix = line.offset, #line.name + 2 + #line.value, prefix
      out[#out + 1] = node
    end
  end
  local rule, tolerated
  if head.method then
    rule, tolerated = request_fault(head, offers), true
  else
    rule, tolerated = response_fault(head), false
  end
  local faults = rule and {
    { offset = 0, field = PEERDIST, rule = rule, section = "MS-PCCRTP 2.2", tolerated = tolerated },
  }
  return {
    name = head.method and "request" or "response", prefix = prefix, protocol = "MS-PCCRTP", section = "2.2",
    size = head.size, fields = out, faults = faults or {},
  }
end

-- An answer that is none of the protocol's.
function http.plain_answer(document, section, head)
  local prefix = document:sub(4):lower()
  local status = { name = "Status", kind = "integer", value = head.status, offset = 0, size = 0, prefix = prefix }
  return {
    name = "HTTP_RESPONSE", prefix = prefix, protocol = document, section = section, size = head.size,
    fields = { status }, faults = {},
  }
end

end

------ 08_pairing.lua

do

-- Which answer belongs to which request: HTTP says so by the order alone. Where packets are missing or changed places,
-- nobody knows it until no request is outstanding and the client asks again, having had all answers.

-- The most requests of one connection that wait for their answers.
local MAX_ASKED = 64
-- The most ranges of a request that are kept, and the longest segment id.
local MAX_RANGES, MAX_ID = 16, 64

local ANSWERS = {
  MSG_NEGO_REQ = "MSG_NEGO_RESP", MSG_GETBLKLIST = "MSG_BLKLIST", MSG_GETBLKS = "MSG_BLK", MSG_GETSEGLIST = "MSG_SEGLIST",
}

-- By number.
local connections = {}

function pairing.forget()
  connections = {}
end

-- A connection: the requests that wait for their answers, in order, and how many have none; by port, whether its begin was
-- seen, where what was seen of it ends, and how much of the other side it had when it said something last.
local function connection_of(stream)
  local found = connections[stream] or {
    asked = {}, outstanding = 0, is_unsure = false, is_doubtful = false, smallest = math.huge, begun = {}, ends = {},
    answered = {}, is_fresh = true,
  }
  connections[stream] = found
  return found
end

local function lose(connection)
  connection.asked, connection.is_unsure = {}, true
end

-- Bytes before those that Wireshark counts from have numbers below zero.
local function position(sequence)
  return sequence < 2 ^ 31 and sequence or sequence - 2 ^ 32
end

-- Takes note of a packet: `packet` has its ports, where it begins in the bytes of its sender, their number, what it
-- acknowledges, whether it is the first of its sender, whether Wireshark says that it changed places with others, was sent
-- before, or acknowledges what was not seen yet, whether bytes before it are lost, and whether a message waits for more
-- from its sender, or from the other side.
function pairing.packet(stream, packet)
  local connection = connection_of(stream)
  local from, to = packet.from, packet.to
  local at = position(packet.at)
  local stop, acknowledged = at + packet.size, position(packet.acknowledged)
  if packet.is_first then
    connection.begun[from], connection.ends[from] = true, connection.ends[from] or at + 1
  end
  connection.packet = nil
  if packet.size == 0 and not packet.is_first then
    -- What is told of an acknowledgement alone is true all the same.
    if packet.is_ahead or packet.is_lost then
      connection.is_doubtful = true
      lose(connection)
    end
    return
  end
  local others = connection.ends[to]
  if packet.size == 0 then
    if packet.acknowledged > 0 then
      connection.ends[to] = others or acknowledged
    end
    return
  end
  local before = connection.ends[from]
  others = others or acknowledged
  connection.ends[to] = others
  local is_ahead, is_missing = packet.is_ahead or acknowledged > others, packet.is_lost or before and at > before
  connection.is_doubtful = connection.is_doubtful or packet.is_odd or is_ahead or is_missing or not connection.begun[from]
  -- Who asks anew has had all, and nobody has answered since.
  connection.is_fresh = acknowledged >= others and not is_ahead and at >= (connection.answered[to] or at)
    and not connection.is_interrupted
  connection.is_interrupted = connection.is_interrupted or packet.is_awaited
  connection.packet = { at = at, stop = stop, acknowledged = acknowledged }
  connection.answered[from] = math.max(connection.answered[from] or acknowledged, acknowledged)
  connection.ends[from] = math.max(before or stop, stop)
  local is_repeated = packet.is_repeated and (not before or stop > before)
  if is_ahead or is_repeated then
    -- Wireshark leaves out what comes behind its acknowledgement, or what it takes for said before.
    lose(connection)
  end
  if not is_missing then
    return
  end
  -- There may be requests among what was lost, or answers.
  lose(connection)
  if not connection.client or connection.client == from then
    local bytes = before and math.max(at - before, 0) or 0
    connection.outstanding = connection.outstanding + math.max(math.ceil(bytes / connection.smallest), 1)
  elseif connection.outstanding == 1 and not packet.is_waited_for then
    connection.outstanding = 0
  end
end

-- A request comes, with head and body of this size.
function pairing.ask(stream, port, size, request)
  local connection = connection_of(stream)
  connection.client, connection.smallest = port, math.min(connection.smallest, size)
  if connection.outstanding == 0 and connection.is_fresh then
    connection.is_unsure = false
  end
  connection.is_interrupted = false
  connection.outstanding = connection.outstanding + 1
  if connection.outstanding > MAX_ASKED then
    lose(connection)
  elseif not connection.is_unsure then
    connection.asked[#connection.asked + 1] = { request = request, packet = connection.packet }
  end
end

-- Whether an answer in a packet may be to a request in another: who answers has had it, and who asked had not had the
-- answer.
local function may_have(asked, answer)
  return not (asked and answer) or answer.acknowledged > asked.at and answer.stop > asked.acknowledged
end

-- The request that is answered now, and whether it is known that there is none.
function pairing.answer(stream)
  local connection = connection_of(stream)
  connection.outstanding = math.max(connection.outstanding - 1, 0)
  if connection.is_unsure then
    return nil, false
  end
  local asked = table.remove(connection.asked, 1)
  if asked and not may_have(asked.packet, connection.packet) then
    lose(connection)
    return nil, false
  end
  return asked and asked.request, not asked
end

-- Something came that nobody can say more of, or an answer to no request that was seen: its request may be behind it.
function pairing.lose(stream)
  lose(connection_of(stream))
end

-- An answer came that Wireshark may take for more than it is, with the ones behind it.
function pairing.swallow(stream)
  local connection = connection_of(stream)
  if connection.outstanding > 0 then
    lose(connection)
  end
end

-- An answer came of which nobody can say more.
function pairing.unread(stream)
  pairing.answer(stream)
  pairing.swallow(stream)
end

local function id_of(tree, name)
  local node = walk.find(tree.fields, name)
  return node and node.kind == "bytes" and node.value or nil
end

local function is_whole(nodes)
  for _, node in ipairs(nodes) do
    local is_structure = node.kind == "record" or node.kind == "list"
    if node.name == "_rest" or is_structure and not is_whole(node.value) then
      return false
    end
  end
  return true
end

-- What of a request tells answers to it from others; what was not read whole does not.
function pairing.asks(tree)
  local asks, id, list = { name = tree.name }, id_of(tree, "SegmentID"), walk.find(tree.fields, "ReqBlockRanges")
  asks.segment = id and #id <= MAX_ID and id or nil
  if list and list.kind == "list" and #list.value <= MAX_RANGES and is_whole(list.value) then
    asks.ranges = {}
    for index, range in ipairs(list.value) do
      asks.ranges[index] = { walk.integer(range.value, "Index") or 0, walk.integer(range.value, "Count") or 0 }
    end
  end
  return asks
end

local function has_block(asks, tree)
  local index = walk.integer(tree.fields, "BlockIndex")
  -- A block that is not held may have the index 0.
  if not asks.ranges or not index or (index == 0 and (walk.integer(tree.fields, "SizeOfBlock") or 0) == 0) then
    return true
  end
  for _, range in ipairs(asks.ranges) do
    if index >= range[1] and index - range[1] < range[2] then
      return true
    end
  end
  return false
end

-- Whether an answer may be to a request, right or wrong. Any request may be answered with the versions.
local function fits(asks, tree)
  local expected = ANSWERS[asks.name]
  if not expected then
    return true
  elseif tree.name ~= expected then
    return tree.name == "MSG_NEGO_RESP"
  end
  local id = id_of(tree, "SegmentId")
  return (not asks.segment or not id or asks.segment == id) and has_block(asks, tree)
end

-- Whether an answer cannot be to the request that its place says: something was lost that was not seen. On a connection
-- of which all was seen, in order, it is a wrong answer.
function pairing.is_of_another(stream, asks, tree)
  local connection = connection_of(stream)
  if not asks or not connection.is_doubtful or fits(asks, tree) then
    return false
  end
  lose(connection)
  return true
end

end

------ 09_exchange.lua

do

-- Which message bytes are, and what they answer.

local T = tables.by_name
local REQUESTS = { [0] = T.MSG_NEGO_REQ, [2] = T.MSG_GETBLKLIST, [3] = T.MSG_GETBLKS, [6] = T.MSG_GETSEGLIST }
local RESPONSES = { [1] = T.MSG_NEGO_RESP, [4] = T.MSG_BLKLIST, [5] = T.MSG_BLK, [7] = T.MSG_SEGLIST }
local OFFERS = { T.INITIAL_OFFER_MESSAGE, T.SEGMENT_INFO_MESSAGE, T.BATCHED_OFFER_MESSAGE }
local RETRIEVAL = http.path(facts.retrieval_path)
local HOSTED_CACHE_1, HOSTED_CACHE_2 = http.path(facts.hosted_cache_path_1), http.path(facts.hosted_cache_path_2)

-- The most bytes of a message that are looked at, and of content information.
local MAX_MESSAGE, MAX_CONTENT_INFORMATION = 400 * 1024, 16 * 1024 * 1024
-- The most Probes whose answers may still come.
local MAX_PROBES = 4096

-- The most segment ids that are derived of one content information: here hashing is slow.
local MAX_DERIVED = 256

local LOST = "bytes of it were not captured"

-- What follows is forgotten with the capture: Probes by their MessageID, and what was found out about each message when
-- its frame was seen for the first time.
-- `derived` spares the work of deriving a segment id again.
local probes, probe_order, known, derived = {}, {}, {}, {}

function exchange.forget()
  probes, probe_order, known, derived = {}, {}, {}, {}
end

local function type_of(s, at)
  return #s >= at + 8 and basic.integer(s, at + 4, 4) or nil
end

local function request_at(path, s)
  local message_type = type_of(s, 0)
  if path == RETRIEVAL then
    return REQUESTS[message_type] or RESPONSES[message_type] or T.MSG_NEGO_REQ
  elseif path == HOSTED_CACHE_1 or path == HOSTED_CACHE_2 then
    local offer = path == HOSTED_CACHE_1 and T.INITIAL_OFFER_MESSAGE or T.BATCHED_OFFER_MESSAGE
    return s:sub(3, 4) == "\0\2" and T.SEGMENT_INFO_MESSAGE or offer
  end
end

local function response_at(path, s)
  local message_type = type_of(s, 4)
  if path == RETRIEVAL then
    return RESPONSES[message_type] or REQUESTS[message_type] or T.MSG_NEGO_RESP
  elseif path == HOSTED_CACHE_1 or path == HOSTED_CACHE_2 then
    return T.RESPONSE_MESSAGE
  end
end

local function plausible_type(s)
  if #s < 8 then
    return nil
  end
  local message_type = basic.integer(s, 4, 4)
  local is_version = basic.integer(s, 0, 2) == 0 and s:byte(3) == 0 and s:byte(4) >= 1 and s:byte(4) < 16
  local is_size = #s >= 12 and basic.integer(s, 8, 4) == #s
  return message_type <= 7 and (is_version or is_size) and message_type or nil
end

-- Which structure bytes are that nothing else tells about; of several the one that breaks the fewest rules.
local function recognise(s)
  local first, found, fewest = s:sub(1, 2), nil, nil
  local function candidate(structure)
    local count = 0
    for _, fault in ipairs(structure and walk.dissect(structure, s:sub(1, 65536)).faults or {}) do
      count = count + (fault.tolerated and 0 or 1)
    end
    if structure and (not fewest or count < fewest) then
      found, fewest = structure, count
    end
  end
  candidate(REQUESTS[plausible_type(s)])
  candidate(RESPONSES[plausible_type(s:sub(5))])
  if first == "\0\1" and s:sub(4, 6) == "\128\0\0" then
    candidate(T["CONTENT_INFORMATION_1.0"])
  elseif first == "\0\2" and (s:byte(3) == 1 or s:byte(3) == 4) then
    candidate(T["CONTENT_INFORMATION_2.0"])
  end
  if (first == "\0\1" or first == "\0\2") and s:byte(3) == 0 then
    candidate(OFFERS[s:byte(4)])
  end
  if #s == 5 and s:sub(1, 4) == "\0\0\0\1" then
    candidate(T.RESPONSE_MESSAGE)
  end
  return found
end

local function broken(tree, offset, rule, section)
  tree.faults[#tree.faults + 1] = { offset = offset, field = "", rule = rule, section = section, tolerated = false }
end

local function not_whole(tree, size, why)
  tree.is_cut = true
  broken(tree, size, "the message is not whole: " .. why, walk.section(tree))
end

local function read_body(structure, s, cut)
  local tree = walk.dissect(structure, s)
  if cut then
    not_whole(tree, #s, cut)
  end
  return tree
end

-- The body of a message, as `http.body` has it; why its bytes are not all, Wireshark knows better.
local function body_of(s, head, data, pinfo)
  local body, cut, where = http.body(s, head, data)
  return body, cut and pinfo.caplen < pinfo.len and LOST or cut, where
end

-- What the head of a message is to its connection; looked up where the frame was seen before. `cut` is a message that
-- is never whole, which may be found when all frames were seen.
local function pair(head, pinfo, stream, index, cut)
  local frame = known[pinfo.number] or {}
  known[pinfo.number] = frame
  if frame[index] or (pinfo.visited and not cut) then
    return frame[index] or {}
  end
  local found = {}
  if head.method then
    found.request = { method = head.method, path = http.path(head.target) }
    local is_answered = cut and cut.is_taken
    if not cut and index == 1 then
      is_answered = unfinished.is_taken(stream, pinfo.src_port)
    end
    if not is_answered then
      pairing.ask(stream, cut and cut.port or pinfo.src_port, http.size(head), found.request)
    end
  elseif head.status >= 200 then
    local has_none
    found.asked, has_none = pairing.answer(stream)
    local early = has_none and unfinished.take_request(stream, cut and cut.other or pinfo.dst_port)
    if early then
      found.asked = { method = early.method, path = http.path(early.target) }
    elseif has_none then
      pairing.lose(stream)
    end
    -- These have a length and no body.
    if head.status == 304 or found.asked and found.asked.method == "HEAD" then
      pairing.swallow(stream)
    end
    if found.asked and found.asked.shown then
      found.asked.answered = found.asked.answered or pinfo.number
    end
  end
  frame[index] = found
  return found
end

-- Takes an answer away from the request that it cannot be to; once, since its frame may be shown again.
local function reject(found, tree, stream, pinfo)
  local shown = found.asked.shown
  if found.is_judged or not shown then
    return
  end
  found.is_judged, found.is_rejected = true, pairing.is_of_another(stream, shown.asks, tree)
  if found.is_rejected and found.asked.answered == pinfo.number then
    found.asked.answered = nil
  end
end

-- The messages in one of HTTP: trees, each with the bytes that it is of, where they stand, and what it answers. `cut` as
-- above.
function exchange.http(head, s, data, pinfo, stream, index, cut)
  local found = pair(head, pinfo, stream, index, cut)
  local out = {}
  local function add(tree, body, where)
    tree.answers = found.asked and not found.is_rejected and found.asked.shown
    tree.answered = found.request
    tree.bytes, tree.where, tree.behind = body, where, head.size
    out[#out + 1] = tree
  end
  if head.method then
    local path = http.path(head.target)
    local body, cut, where
    if head.method == "POST" and request_at(path, "") then
      body, cut, where = body_of(s, head, data, pinfo)
      body = body:sub(1, MAX_MESSAGE)
      local tree = read_body(request_at(path, body), body, cut)
      if path == HOSTED_CACHE_2 and tree.name == "SEGMENT_INFO_MESSAGE" then
        broken(tree, 0, "a message of version 1.0, at the path of version 2.0", "MS-PCHC 2.1")
      end
      add(tree, body, where)
    else
      local tree = http.dissect(head)
      if tree then
        add(tree)
      end
    end
    if out[1] and found.request and not found.request.shown then
      found.request.shown = {
        frame = pinfo.number, time = pinfo.rel_ts, name = out[1].name, asks = pairing.asks(out[1]),
      }
    end
    return out
  end
  local asked = found.asked
  if head.status < 200 then
    return out
  end
  local function whole_body(most)
    local body, cut, where = body_of(s, head, data, pinfo)
    return body:sub(1, most), cut, where
  end
  local has_body = not (asked and asked.method == "HEAD") and head.status ~= 204 and head.status ~= 304
  if asked and asked.method == "POST" and response_at(asked.path, "") then
    if head.status == 200 then
      local body, cut, where = whole_body(MAX_MESSAGE)
      local tree = read_body(response_at(asked.path, body), body, cut)
      reject(found, tree, stream, pinfo)
      add(tree, body, where)
    else
      local structure = response_at(asked.path, has_body and whole_body(MAX_MESSAGE) or "")
      add(http.plain_answer(structure.protocol, structure.section, head))
    end
    return out
  end
  local tree = http.dissect(head)
  if tree then
    add(tree)
    if has_body and http.lists(head, "Content-Encoding", "peerdist") then
      local body, cut, where = whole_body(MAX_CONTENT_INFORMATION)
      local structure = T[body:sub(1, 2) == "\0\2" and "CONTENT_INFORMATION_2.0" or "CONTENT_INFORMATION_1.0"]
      add(read_body(structure, body, cut), body, where)
    end
    return out
  end
  if has_body and not asked then
    local body, cut, where = whole_body(MAX_MESSAGE)
    local structure = recognise(body)
    if structure then
      add(read_body(structure, body, cut), body, where)
      return out
    end
  end
  if asked and asked.shown then
    -- The content itself, though content information would have done.
    add(http.plain_answer("MS-PCCRTP", "2.2", head))
  end
  return out
end

-- Takes from a datagram without its end what was not read whole; its XML is not what is wrong.
local function cut_datagram(tree, s)
  local stop, whole = #basic.trim_xml("." .. s) - 1, {}
  for _, node in ipairs(tree.fields) do
    if node.offset + node.size < stop then
      whole[#whole + 1] = node
    end
  end
  tree.fields, tree.faults = whole, {}
  not_whole(tree, #s, LOST)
end

-- The message in a datagram of discovery, or nil. `is_cut` says whether its end was not captured.
function exchange.datagram(s, is_cut, pinfo)
  local tree = discovery.dissect(s)
  if not tree then
    return nil
  end
  if is_cut then
    cut_datagram(tree, s)
  end
  local frame = known[pinfo.number]
  if not frame and not pinfo.visited then
    frame = { answers = probes[tree.relates_to] }
    known[pinfo.number] = frame
    if frame.answers then
      frame.answers.answered = frame.answers.answered or pinfo.number
    end
    local id = tree.message_id
    if tree.name == "Probe" and id ~= "" and not probes[id] then
      if #probe_order == MAX_PROBES then
        probes[table.remove(probe_order, 1)] = nil
      end
      probe_order[#probe_order + 1] = id
      probes[id] = { shown = { frame = pinfo.number, time = pinfo.rel_ts, name = tree.name } }
      frame.request = probes[id]
    end
  end
  frame = frame or {}
  tree.answers = frame.answers and frame.answers.shown
  tree.answered = frame.request
  tree.bytes, tree.where = s, "data"
  return tree
end

-- Every segment that a message is about, in order and once; of content information those that follow from it.
function exchange.segment_ids(tree)
  local found, seen, algorithm = {}, {}, nil
  local NAMES = { SegmentID = true, SegmentId = true, Hash = true, SegmentHoHoDk = true }
  local function add(id)
    if not seen[id] and #id > 0 and #found < 1024 then
      seen[id] = true
      found[#found + 1] = id
    end
  end
  local function visit(nodes)
    local secret, hash
    for _, node in ipairs(nodes) do
      if node.name == "dwHashAlgo" then
        algorithm = node.value
      elseif node.name == "SegmentSecret" then
        secret = node.value
      elseif node.name == "SegmentHashOfData" then
        hash = node.value
      elseif node.kind == "bytes" and NAMES[node.name] then
        add(node.value)
      end
      local inside = node.inside or ((node.kind == "record" or node.kind == "list") and node.value)
      if inside then
        visit(inside)
      end
    end
    if secret and hash and #found < MAX_DERIVED then
      local key = (algorithm or "") .. secret .. hash
      derived[key] = derived[key] or sha2.segment_id(algorithm, secret, hash)
      add(derived[key])
    end
  end
  visit(tree.fields)
  return found
end

end

------ 10_unfinished.lua

do

-- Messages of HTTP over TCP or TLS that are never whole: Wireshark waits for the rest of them and shows nothing. What it waits
-- with is kept here until it has the message, or until the connection or the capture ends.

-- The most bytes of a direction that are kept: a head and a body of each kind.
local MAX_KEPT, MAX_KEPT_CODED = 464 * 1024, 16 * 1024 * 1024 + 64 * 1024

-- By connection and port of the sender: the message that waits, and how far the messages before it went. By frame: what
-- ended with it.
local waiting, passed, ended = {}, {}, {}

function unfinished.forget()
  waiting, passed, ended = {}, {}, {}
end

local function key(stream, port)
  return stream .. " " .. port
end

-- Wireshark has shown everything of this direction before a sequence number.
function unfinished.done(stream, port, sequence)
  waiting[key(stream, port)] = nil
  passed[key(stream, port)] = sequence
end

-- Takes bytes that Wireshark keeps for later.
function unfinished.keep(stream, pinfo, sequence, bytes)
  local place = key(stream, pinfo.src_port)
  if sequence < (passed[place] or 0) then
    return
  end
  local message = waiting[place]
  if not message then
    if not http.begins(bytes) then
      return
    end
    local head = http.head(bytes)
    local is_coded = head and http.lists(head, "Content-Encoding", "peerdist")
    message = { port = pinfo.src_port, other = pinfo.dst_port, parts = {}, size = 0 }
    message.most = is_coded and MAX_KEPT_CODED or MAX_KEPT
    waiting[place] = message
  end
  message.last, message.next = pinfo.number, sequence + #bytes
  if message.size < message.most then
    message.parts[#message.parts + 1] = { sequence, bytes }
    message.size = message.size + #bytes
  end
end

-- The same for bytes of TLS, which come in order and without numbers; before them it has shown what was whole.
function unfinished.shown(stream, port)
  waiting[key(stream, port)] = nil
end

function unfinished.keep_next(stream, pinfo, bytes)
  local message = waiting[key(stream, pinfo.src_port)]
  unfinished.keep(stream, pinfo, message and message.next or 0, bytes)
end

-- No more will come in this direction.
function unfinished.finish(stream, port, frame)
  local place = key(stream, port)
  if waiting[place] then
    ended[frame] = ended[frame] or {}
    table.insert(ended[frame], waiting[place])
    waiting[place] = nil
  end
end

-- What is known to be unfinished when this frame is shown: what ended with it, and, once all frames were seen, what has
-- its last bytes here.
function unfinished.of(stream, pinfo)
  local last = waiting[key(stream, pinfo.src_port)]
  if pinfo.visited and last and last.last == pinfo.number then
    return { last }
  end
  return ended[pinfo.number] or {}
end

-- The bytes of such a message, up to the first that is missing.
function unfinished.bytes(message)
  local out, at = {}, nil
  table.sort(message.parts, function(one, other) return one[1] < other[1] end)
  for _, part in ipairs(message.parts) do
    local sequence, bytes = part[1], part[2]
    at = at or sequence
    if sequence > at then
      break
    end
    local fresh = bytes:sub(at - sequence + 1)
    out[#out + 1], at = fresh, at + #fresh
  end
  return table.concat(out)
end

-- Whether a message of this direction waits for the rest of it.
function unfinished.has(stream, port)
  return waiting[key(stream, port)] ~= nil
end

-- The head of a request of which more is to come, for its answer that does not wait for it; once. `port` is who asks.
function unfinished.take_request(stream, port)
  local message = waiting[key(stream, port)]
  if not message or message.is_taken then
    return nil
  end
  -- Many answers may ask for it: it is read again only where more of it has come.
  if message.size_read ~= message.size then
    message.size_read, message.head = message.size, http.head(unfinished.bytes(message))
  end
  if message.head and message.head.method then
    message.is_taken = true
    return message.head
  end
end

-- Whether the request that this port sends, or has just sent, has had its answer.
function unfinished.is_taken(stream, port)
  local message = waiting[key(stream, port)]
  return message and message.is_taken
end

end

------ 11_summary.lua

do

-- Messages in a few words, and how many there were of what.

local function number(tree, name)
  return walk.integer(tree.fields, name) or 0
end

local function counted(tree, name)
  local node = walk.find(tree.fields, name)
  return node and node.kind == "list" and #node.value or 0
end

local function plural(count, what)
  return basic.text(count) .. " " .. what .. (count == 1 and "" or "s")
end

local function blocks_of(tree)
  local list
  for _, name in ipairs({ "ReqBlockRanges", "NeededBlockRanges", "BlockRanges" }) do
    list = list or walk.find(tree.fields, name)
  end
  local total, first = 0, nil
  for _, range in ipairs(list and list.value or {}) do
    local inside = { fields = range.value }
    total = total + number(inside, "Count")
    first = first or number(inside, "Index")
  end
  return total, first
end

-- The bytes of the first field of this name that has any; items of a list may have the name of what is in them.
local function first_bytes(nodes, name)
  for _, node in ipairs(nodes) do
    if node.name == name and node.kind == "bytes" then
      return node.value
    end
    local inside = node.inside or ((node.kind == "record" or node.kind == "list") and node.value)
    local found = inside and first_bytes(inside, name)
    if found then
      return found
    end
  end
end

local function segment_of(tree)
  for _, name in ipairs({ "SegmentID", "SegmentId", "Hash", "SegmentHoHoDk" }) do
    local id = first_bytes(tree.fields, name)
    if id then
      return "segment " .. basic.to_hex(id:sub(1, 8))
    end
  end
  return ""
end

local WHAT = {
  MSG_BLK = function(tree)
    local size = number(tree, "SizeOfBlock")
    local held = size == 0 and "not held" or basic.text(size) .. " bytes"
    return segment_of(tree) .. " block " .. basic.text(number(tree, "BlockIndex")) .. ", " .. held
  end,
  MSG_SEGLIST = function(tree) return plural(counted(tree, "SegmentRanges"), "range") end,
  MSG_NEGO_REQ = function(tree)
    local function version(name) return walk.version_text(number(tree, name)) end
    return version("MinSupportedProtocolVersion") .. " to " .. version("MaxSupportedProtocolVersion")
  end,
  SEGMENT_INFO_MESSAGE = function(tree) return basic.text(number(tree, "cbSegment")) .. " bytes" end,
  RESPONSE_MESSAGE = function(tree)
    local code = walk.find(tree.fields, "ResponseCode")
    return code and ({ [0] = "OK", [1] = "INTERESTED" })[code.value] or ""
  end,
  request = function(tree)
    local range = walk.find(tree.fields, "Range")
    return walk.find(tree.fields, "Method").value .. " " .. walk.find(tree.fields, "Target").value
      .. (range and ", " .. range.value or "")
  end,
  HTTP_RESPONSE = function(tree) return "status " .. basic.text(number(tree, "Status")) end,
  ["CONTENT_INFORMATION_1.0"] = function(tree) return plural(counted(tree, "segments"), "segment") end,
  ["CONTENT_INFORMATION_2.0"] = function(tree)
    local chunks, count = walk.find(tree.fields, "chunks"), 0
    for _, chunk in ipairs(chunks and chunks.value or {}) do
      count = count + counted({ fields = chunk.value }, "segments")
    end
    return plural(count, "segment")
  end,
}

local function with_blocks(tree)
  local total, first = blocks_of(tree)
  if total == 1 then
    return segment_of(tree) .. " block " .. basic.text(first)
  end
  return segment_of(tree) .. " " .. (total == 0 and "no blocks" or plural(total, "block"))
end

local function with_more(list)
  return function(tree)
    local count, segment = counted(tree, list), segment_of(tree)
    return segment .. (count > 1 and segment ~= "" and " and " .. basic.text(count - 1) .. " more" or "")
  end
end

WHAT.MSG_NEGO_RESP, WHAT.response = WHAT.MSG_NEGO_REQ, WHAT.HTTP_RESPONSE
WHAT.MSG_GETBLKS, WHAT.MSG_GETBLKLIST, WHAT.MSG_BLKLIST = with_blocks, with_blocks, with_blocks
WHAT.MSG_GETSEGLIST, WHAT.BATCHED_OFFER_MESSAGE = with_more("SegmentIDs"), with_more("SegmentDescriptors")
WHAT.Probe, WHAT.ProbeMatches, WHAT.INITIAL_OFFER_MESSAGE = with_more("SegmentIDs"), with_more("SegmentIDs"), segment_of

-- Of a message that is cut off: what is whole of it.
local function cut_what(tree)
  local segment, index = segment_of(tree), walk.find(tree.fields, "BlockIndex")
  local block = index and " block " .. basic.text(index.value) or ""
  return (segment == "" and "" or segment .. block .. ", ") .. "cut off"
end

-- What a message is about: segment and blocks, or a URL.
function summary.what(tree)
  if tree.is_cut or tree.is_short then
    return cut_what(tree)
  end
  return WHAT[tree.name] and WHAT[tree.name](tree) or ""
end

-- What each frame adds to the statistics; a frame is dissected more than once, and what is never whole may be found when
-- all were seen (`is_late`).
local frames = {}

function summary.forget()
  frames = {}
end

function summary.count(tree, pinfo)
  if pinfo.visited and not tree.is_late then
    return
  end
  local frame = frames[pinfo.number] or {}
  frames[pinfo.number] = frame
  local note = { name = tree.name, protocol = tree.protocol, faults = 0, odd = 0, is_cut = tree.is_cut }
  frame[#frame + 1] = note
  if tree.is_cut then
    return
  end
  for _, fault in ipairs(tree.faults) do
    local kind = fault.tolerated and "odd" or "faults"
    note[kind] = note[kind] + 1
  end
  if tree.answers then
    note.took = pinfo.rel_ts - tree.answers.time
  end
  if tree.is_short then
    return
  elseif tree.name == "MSG_GETBLKS" then
    note.segment, note.asked = segment_of(tree), (blocks_of(tree))
  elseif tree.name == "MSG_BLK" then
    note.segment, note.size = segment_of(tree), number(tree, "SizeOfBlock")
    note.source = tostring(pinfo.src)
  end
end

-- The statistics of the frames that are handed to `add`, as text.
function summary.new()
  local self = { messages = {}, segments = {}, sources = {} }

  local function entry(list, name, fresh)
    if not list[name] then
      list[name] = fresh
    end
    return list[name]
  end

  function self.add(pinfo)
    for _, note in ipairs(frames[pinfo.number] or {}) do
      local fresh = { count = 0, cut = 0, faults = 0, odd = 0, answered = 0, took = 0, most = 0 }
      local message = entry(self.messages, note.protocol .. " " .. note.name, fresh)
      local kind = note.is_cut and "cut" or "count"
      message[kind], message.odd = message[kind] + 1, message.odd + note.odd
      message.faults = message.faults + note.faults
      if note.took then
        message.answered, message.took = message.answered + 1, message.took + note.took
        message.most = math.max(message.most, note.took)
      end
      if note.segment then
        local segment = entry(self.segments, note.segment, { asked = 0, blocks = 0, missing = 0, bytes = 0 })
        segment.asked = segment.asked + (note.asked or 0)
        if note.size then
          local source = entry(self.sources, note.source, { blocks = 0, missing = 0, bytes = 0 })
          local kind = note.size > 0 and "blocks" or "missing"
          for _, counts in ipairs({ segment, source }) do
            counts[kind], counts.bytes = counts[kind] + 1, counts.bytes + note.size
          end
        end
      end
    end
  end

  local function sorted(list)
    local names = {}
    for name in pairs(list) do
      names[#names + 1] = name
    end
    table.sort(names)
    return names
  end

  function self.text()
    local out = {}
    local function line(format, ...)
      out[#out + 1] = (string.format(format, ...):gsub("%s+$", ""))
    end
    line("%-36s %8s %8s %8s %8s %12s %12s", "message", "count", "cut off", "faults", "odd", "mean ms", "most ms")
    for _, name in ipairs(sorted(self.messages)) do
      local m = self.messages[name]
      local mean = m.answered > 0 and string.format("%.3f", 1000 * m.took / m.answered) or ""
      local most = m.answered > 0 and string.format("%.3f", 1000 * m.most) or ""
      line("%-36s %8.0f %8.0f %8.0f %8.0f %12s %12s", name, m.count, m.cut, m.faults, m.odd, mean, most)
    end
    line("")
    line("%-36s %8s %8s %8s %12s", "segment", "asked", "blocks", "not held", "bytes")
    for _, name in ipairs(sorted(self.segments)) do
      local s = self.segments[name]
      line("%-36s %8.0f %8.0f %8.0f %12.0f", name, s.asked, s.blocks, s.missing, s.bytes)
    end
    line("")
    line("%-36s %8s %8s %8s %12s", "blocks from", "", "blocks", "not held", "bytes")
    for _, name in ipairs(sorted(self.sources)) do
      local s = self.sources[name]
      line("%-36s %8s %8.0f %8.0f %12.0f", name, "", s.blocks, s.missing, s.bytes)
    end
    return table.concat(out, "\n") .. "\n"
  end

  function self.clear()
    self.messages, self.segments, self.sources = {}, {}, {}
  end

  return self
end

end

------ 12_wireshark.lua

do

-- Wireshark's side: protocols, fields, trees, expert information, columns.

local PROTOCOLS = {
  peerdist = "PeerDist (BranchCache)",
  pccrd = "MS-PCCRD: BranchCache discovery",
  pccrr = "MS-PCCRR: BranchCache retrieval",
  pchc = "MS-PCHC: BranchCache hosted cache",
  pccrtp = "MS-PCCRTP: BranchCache extension of HTTP",
  pccrc = "MS-PCCRC: BranchCache content information",
}

local protos, by_filter, lists, faults = {}, {}, {}, {}

for prefix, name in pairs(PROTOCOLS) do
  protos[prefix], lists[prefix] = Proto(prefix, name), {}
  local group, severity = expert.group, expert.severity
  faults[prefix] = {
    insisted = ProtoExpert.new(prefix .. ".fault", "A rule is broken", group.MALFORMED, severity.ERROR),
    tolerated = ProtoExpert.new(prefix .. ".odd", "A rule is broken, which receivers tolerate", group.PROTOCOL,
      severity.NOTE),
    cut = ProtoExpert.new(prefix .. ".cut", "Bytes of the message are missing in the capture", group.UNDECODED,
      severity.WARN),
  }
  protos[prefix].experts = { faults[prefix].insisted, faults[prefix].tolerated, faults[prefix].cut }
end

local function declare(filter, field)
  by_filter[filter] = field
  table.insert(lists[filter:match("^[^.]*")], field)
end

for _, declared in ipairs(fields.declared) do
  local filter, name, kind, values, note = declared[1], declared[2], declared[3], declared[4], declared[5]
  local shown = kind:find("^UINT") and base.DEC or kind == "STRING" and base.UNICODE or base.NONE
  declare(filter, ProtoField.new(name, filter, ftypes[kind], values, shown, nil, note))
end
declare("peerdist.message", ProtoField.new("Message", "peerdist.message", ftypes.STRING, nil, base.UNICODE, nil,
  "the document's name for it"))
declare("peerdist.segment_id", ProtoField.new("Segment", "peerdist.segment_id", ftypes.BYTES, nil, base.NONE, nil,
  "HoHoDk of a segment that the message is about"))
declare("peerdist.request_in", ProtoField.framenum("peerdist.request_in", "Request in", base.NONE, frametype.REQUEST,
  nil, "the frame of the request that this answers"))
declare("peerdist.response_in", ProtoField.framenum("peerdist.response_in", "Response in", base.NONE, frametype.RESPONSE,
  nil, "the frame of the first answer to this"))
declare("peerdist.time", ProtoField.relative_time("peerdist.time", "Time since the request",
  "from the last frame of the request to the last one of the response"))
for prefix, list in pairs(lists) do
  protos[prefix].fields = list
end

-- Text as Wireshark takes it: it ends at a zero byte.
local function shown_text(text)
  return (text:gsub("\0", "\\0"))
end

-- Bytes of a range, as far as it goes. Wireshark refuses none at its end: they stand before its last byte.
local function place(range, offset, size)
  local length = range:len()
  if length == 0 then
    return range
  end
  offset = math.min(offset, length)
  size = math.min(size, length - offset)
  return range:range(math.min(offset, length - 1), size)
end

-- Adds nodes below an item. `items` gets the innermost item at each offset, for what is to be said of it.
local function show(parent, nodes, range, items, in_list)
  for index, node in ipairs(nodes) do
    local at, item = place(range, node.offset, node.size), nil
    local field = by_filter[node.prefix .. "." .. (node.key or node.name):lower()]
    local is_structure = node.kind == "record" or node.kind == "list"
    if is_structure then
      item = in_list and parent:add(at, node.name .. " [" .. (index - 1) .. "]") or parent:add(field, at)
      if node.kind == "list" then
        item:append_text(": " .. #node.value)
      end
      show(item, node.value, range, items, node.kind == "list")
    elseif node.kind == "integer" then
      local is_version = node.field and node.field.version
      item = parent:add(field, at, is_version and walk.version_text(node.value) or node.value)
    elseif node.kind == "text" then
      item = parent:add(field, at, shown_text(node.value))
    elseif node.size > 0 then
      item = parent:add(field, at)
    end
    if node.inside then
      local inner = range
      if node.bytes then
        inner = ByteArray.new(node.bytes, true):tvb(node.name):range()
      end
      show(item, node.inside, inner, {}, false)
    end
    if item and not (is_structure and items[node.offset]) then
      items[node.offset] = item
    end
  end
end

local function fault_text(fault)
  local field = fault.field == "" and "" or fault.field .. ": "
  return "offset " .. basic.text(fault.offset) .. ": " .. field .. fault.rule .. " ([" .. fault.section .. "]"
    .. (fault.tolerated and ", tolerated)" or ")")
end

local function generated(parent, filter, value)
  local item = value and parent:add(by_filter[filter], value)
  if item then
    item:set_generated()
  end
end

-- Adds a message. `range` has its head, if any, and `data` what Wireshark has found to be its body.
local function message(root, tree, range, data, pinfo)
  if tree.where == "behind" then
    range = place(range, tree.behind, #tree.bytes)
  elseif tree.where == "data" then
    range = place(data, 0, #tree.bytes)
  elseif tree.bytes then
    range = ByteArray.new(tree.bytes, true):tvb("PeerDist message"):range()
  else
    range = place(range, 0, tree.size)
  end
  local top, items = root:add(protos[tree.prefix], range), {}
  local what = summary.what(tree)
  top:append_text(", " .. tree.name .. (what == "" and "" or ", " .. shown_text(what)))
  local link = top:add(protos.peerdist, place(range, 0, 0))
  link:append_text(", " .. tree.name)
  link:add(by_filter["peerdist.message"], place(range, 0, 0), tree.name):set_generated()
  for _, id in ipairs(exchange.segment_ids(tree)) do
    local bytes = ByteArray.new(id, true):tvb("Segment id"):range()
    link:add(by_filter["peerdist.segment_id"], bytes):set_generated()
  end
  if tree.answers then
    generated(link, "peerdist.request_in", tree.answers.frame)
    local took = math.floor((pinfo.rel_ts - tree.answers.time) * 1e9 + 0.5)
    generated(link, "peerdist.time", NSTime.new(math.floor(took / 1e9), math.floor(took % 1e9)))
  elseif tree.answered then
    generated(link, "peerdist.response_in", tree.answered.answered)
  end
  show(top, tree.fields, range, items, false)
  if tree.is_cut then
    top:add_proto_expert_info(faults[tree.prefix].cut)
  end
  for _, fault in ipairs(tree.faults) do
    local about = faults[tree.prefix][fault.tolerated and "tolerated" or "insisted"]
    local item = items[fault.offset] or top
    item:add_proto_expert_info(about, shown_text(fault_text(fault)))
  end
  summary.count(tree, pinfo)
  return tree.name .. (what == "" and "" or " " .. what)
end

-- Runs `read`. Nothing that is in a packet may end in an error of Lua; if it does all the same, this is told.
local function guarded(root, read)
  local is_good, found = pcall(read)
  if not is_good then
    local told = "the dissector failed: " .. tostring(found)
    root:add(protos.peerdist):add_proto_expert_info(faults.peerdist.insisted, told)
  end
  return is_good and found or nil
end

function protos.pccrd.dissector(tvb, pinfo, root)
  local text = guarded(root, function()
    local range = tvb:range()
    local tree = exchange.datagram(range:raw(), tvb:len() < tvb:reported_len(), pinfo)
    return tree and message(root, tree, range, range, pinfo)
  end)
  if not text then
    return 0
  end
  pinfo.cols.protocol, pinfo.cols.info = "PCCRD", shown_text(text)
  return tvb:len()
end

DissectorTable.get("udp.port"):add(facts.discovery_port, protos.pccrd)

-- How much of a datagram to another port is looked at.
local LOOKED_AT = 512

protos.pccrd:register_heuristic("udp", function(tvb, pinfo, root)
  local size = math.min(tvb:len(), LOOKED_AT)
  if size == 0 or not discovery.begins(tvb:range(0, size):raw()) then
    return false
  end
  return protos.pccrd.dissector(tvb, pinfo, root) > 0
end)

-- Messages over HTTP are read when the dissectors of TCP, TLS and HTTP are done: on any port, whatever the type of the
-- content.
local of_http, of_data, of_stream = Field.new("http"), Field.new("http.file_data"), Field.new("tcp.stream")
local of_payload, of_segment, of_sequence = Field.new("tcp.payload"), Field.new("tcp.segment_data"), Field.new("tcp.seq")
local of_tls, of_tls_segment = Field.new("tls"), Field.new("tls.segment.data")
local of_lost, of_late = Field.new("tcp.analysis.lost_segment"), Field.new("tcp.analysis.out_of_order")
local of_again, of_unseen = Field.new("tcp.analysis.retransmission"), Field.new("tcp.analysis.ack_lost_segment")
local of_acknowledged, of_length = Field.new("tcp.ack"), Field.new("tcp.len")
local of_syn, of_fin, of_reset = Field.new("tcp.flags.syn"), Field.new("tcp.flags.fin"), Field.new("tcp.flags.reset")

local function show_http(root, tree, range, data, pinfo)
  local text = message(root, tree, range, data, pinfo)
  pinfo.cols.protocol = tree.prefix:upper()
  pinfo.cols.info:append(" | " .. shown_text(text))
end

-- Notes what of a frame Wireshark keeps for later.
local function note_segments(pinfo, stream, has_http)
  local segments, payload, sequence = { of_segment() }, of_payload(), of_sequence()
  if payload and sequence then
    local last = segments[#segments]
    -- Where there is a message, bytes from the start of the payload on are the end of it.
    if last and has_http and last.offset == payload.offset then
      last = nil
    end
    local size = last and last.offset - payload.offset or payload.len
    if has_http then
      unfinished.done(stream, pinfo.src_port, sequence.value + size)
    end
    if last then
      unfinished.keep(stream, pinfo, sequence.value + size, last.range:raw())
    end
  end
end

-- The same of what was in TLS. The end of a message, which is among it, does not begin like one.
local function note_tls_segments(pinfo, stream, has_http)
  if has_http then
    unfinished.shown(stream, pinfo.src_port)
  end
  for _, segment in ipairs({ of_tls_segment() }) do
    unfinished.keep_next(stream, pinfo, segment.range:raw())
  end
end

local function is_set(field)
  local found = field()
  return found ~= nil and found.value
end

-- Notes what a frame says of the order of messages.
local function note_order(pinfo, stream)
  local sequence, acknowledged, length = of_sequence(), of_acknowledged(), of_length()
  pairing.packet(stream, {
    from = pinfo.src_port, to = pinfo.dst_port, is_first = is_set(of_syn),
    at = sequence and sequence.value or 0, size = length and length.value or 0,
    acknowledged = acknowledged and acknowledged.value or 0,
    is_odd = (of_lost() or of_late() or of_again() or of_unseen()) ~= nil, is_ahead = of_unseen() ~= nil,
    is_repeated = (of_again() or of_late()) ~= nil, is_lost = of_lost() ~= nil,
    is_waited_for = unfinished.has(stream, pinfo.src_port), is_awaited = unfinished.has(stream, pinfo.dst_port),
  })
end

-- Notes what will never be whole.
local function note_end(pinfo, stream)
  local is_reset = is_set(of_reset)
  if is_reset or is_set(of_fin) then
    unfinished.finish(stream, pinfo.src_port, pinfo.number)
  end
  if is_reset then
    unfinished.finish(stream, pinfo.dst_port, pinfo.number)
  end
end

local function show_unfinished(root, pinfo, stream)
  for _, cut in ipairs(unfinished.of(stream, pinfo)) do
    local s = unfinished.bytes(cut)
    local head = http.head(s)
    local trees = head and exchange.http(head, s, nil, pinfo, stream, "cut " .. cut.port, cut) or {}
    for _, tree in ipairs(trees) do
      tree.is_late = not cut.is_counted
      show_http(root, tree, ByteArray.new(s, true):tvb("Unfinished message"):range(), nil, pinfo)
    end
    cut.is_counted = true
  end
end

function protos.peerdist.dissector(_, pinfo, root)
  local items, stream = { of_http() }, of_stream()
  if #items == 0 and not stream then
    return
  end
  local bodies, body = { of_data() }, 1
  stream = stream and tostring(stream.value) or ""
  if stream ~= "" and not pinfo.visited then
    guarded(root, function() note_order(pinfo, stream) end)
  end
  for index, item in ipairs(items) do
    guarded(root, function()
      -- All that follows in the same bytes, or the head alone: Wireshark does the one or the other.
      local range = item.range
      local s = range:raw()
      local head, data = http.head(s), nil
      if not head then
        if not pinfo.visited then
          local note = http.begins_answer(s) and pairing.unread or pairing.lose
          note(stream)
        end
        return
      end
      if bodies[body] and http.owns(head, item.offset, bodies[body].offset) then
        data, body = bodies[body].range, body + 1
      end
      for _, tree in ipairs(exchange.http(head, s, data and data:raw(), pinfo, stream, index)) do
        show_http(root, tree, range, data, pinfo)
      end
    end)
  end
  if stream ~= "" then
    guarded(root, function()
      if not pinfo.visited then
        local note = of_tls() and note_tls_segments or note_segments
        note(pinfo, stream, #items > 0)
        note_end(pinfo, stream)
      end
      show_unfinished(root, pinfo, stream)
    end)
  end
end

function protos.peerdist.init()
  exchange.forget()
  pairing.forget()
  unfinished.forget()
  summary.forget()
end

register_postdissector(protos.peerdist)

-- Statistics: a window of Wireshark, or what tshark prints at the end with `-o peerdist.statistics:TRUE`.
protos.peerdist.prefs.statistics = Pref.bool("Print statistics (tshark)", false,
  "Print messages, segments and blocks at the end of the capture")

if gui_enabled() then
  register_menu("BranchCache messages and blocks", function()
    local window, counts = TextWindow.new("BranchCache messages and blocks"), summary.new()
    local tap = Listener.new("frame", "peerdist")
    tap.packet, tap.reset = counts.add, counts.clear
    function tap.draw()
      window:set(counts.text())
    end
    window:set_atclose(function() tap:remove() end)
    retap_packets()
  end, MENU_STAT_UNSORTED)
else
  local tap, counts = Listener.new("frame"), summary.new()
  tap.packet, tap.reset = counts.add, counts.clear
  function tap.draw()
    if protos.peerdist.prefs.statistics then
      print(counts.text())
    end
  end
end

end
