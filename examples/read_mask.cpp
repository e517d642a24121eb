// Reads a head mask (`head_mask.safetensors`) with nothing but the C++17 standard library, and prints it as a grid.
//
//     c++ -std=c++17 -O2 examples/read_mask.cpp -o read_mask && ./read_mask out/head_mask.safetensors
//
// The file: 8 bytes of header length (little endian), a JSON header, the tensors' bytes. The header holds `__metadata__`, text by
// name, and for each tensor `dtype`, `shape` and `data_offsets`, counted from the header's end. `retrieval_mask`, U8
// [layers, kv heads], is all that an engine needs: 1 = the kv head keeps every key and value, 0 = it keeps sinks and a window. kv
// head j serves the query heads j * group ... (j + 1) * group - 1, in the order of the checkpoint's rows.
//
// Exit codes: 0 printed, 2 the file cannot be used. Nothing is guessed: whatever is not as described ends the program.

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

// Larger files, headers and masks are refused before anything is allocated for them.
constexpr std::size_t kMaxFileBytes = 16u << 20;
constexpr std::size_t kMaxHeaderBytes = 1u << 20;
constexpr std::uint64_t kMaxAxis = 4096;

struct BadFile : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Tensor {
    std::string dtype;
    std::vector<std::uint64_t> shape;
    std::vector<std::uint64_t> offsets;
};

struct Header {
    std::map<std::string, std::string> metadata;
    std::map<std::string, Tensor> tensors;

    const std::string& text(const std::string& key) const {
        const auto found = metadata.find(key);
        if (found == metadata.end()) throw BadFile("metadata `" + key + "` is missing");
        return found->second;
    }

    std::uint64_t count(const std::string& key) const {
        const std::string& digits = text(key);
        if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos)
            throw BadFile("metadata `" + key + "` is `" + digits + "`, not a count");
        return std::stoull(digits);
    }
};

// The part of JSON that a safetensors header consists of: objects, text, arrays of whole numbers. No numbers elsewhere, no
// `true`, no deeper nesting: a header has none.
class HeaderParser {
public:
    explicit HeaderParser(const std::string& text) : text_(text) {}

    Header parse() {
        Header header;
        each_field([&](const std::string& name) {
            if (name == "__metadata__") {
                each_field([&](const std::string& key) { put(header.metadata, key, string()); });
            } else {
                put(header.tensors, name, tensor());
            }
        });
        skip_space();
        if (at_ != text_.size()) fail("text after the header");
        return header;
    }

private:
    [[noreturn]] void fail(const std::string& what) const {
        throw BadFile("the header is not a safetensors header: " + what + " at byte " + std::to_string(at_));
    }

    template <typename Value>
    void put(std::map<std::string, Value>& values, const std::string& key, Value value) const {
        if (!values.emplace(key, std::move(value)).second) fail("`" + key + "` a second time");
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++at_;
    }

    // Steps over `c` if it is next.
    bool take(char c) {
        skip_space();
        if (peek() != c) return false;
        ++at_;
        return true;
    }

    void expect(char c) {
        if (!take(c)) fail(std::string("no `") + c + "`");
    }

    template <typename Read>
    void each_field(Read read) {
        expect('{');
        if (take('}')) return;
        do {
            const std::string key = string();
            expect(':');
            read(key);
        } while (take(','));
        expect('}');
    }

    Tensor tensor() {
        Tensor tensor;
        each_field([&](const std::string& field) {
            if (field == "dtype" && tensor.dtype.empty()) {
                tensor.dtype = string();
            } else if (field == "shape" && tensor.shape.empty()) {
                tensor.shape = numbers();
            } else if (field == "data_offsets" && tensor.offsets.empty()) {
                tensor.offsets = numbers();
            } else {
                fail("`" + field + "` in a tensor");
            }
        });
        if (tensor.offsets.size() != 2 || tensor.offsets[0] > tensor.offsets[1]) fail("impossible `data_offsets`");
        return tensor;
    }

    std::vector<std::uint64_t> numbers() {
        std::vector<std::uint64_t> values;
        expect('[');
        if (take(']')) return values;
        do values.push_back(number());
        while (take(','));
        expect(']');
        return values;
    }

    std::uint64_t number() {
        skip_space();
        std::uint64_t value = 0;
        std::size_t num_digits = 0;
        for (; peek() >= '0' && peek() <= '9'; ++at_) {
            // 18 digits cannot overflow; no offset in a file of this size has as many.
            if (++num_digits > 18) fail("a number too large");
            value = 10 * value + static_cast<std::uint64_t>(peek() - '0');
        }
        if (num_digits == 0) fail("no whole number");
        return value;
    }

    std::string string() {
        expect('"');
        std::string value;
        while (peek() != '"') {
            if (at_ >= text_.size()) fail("text without an end");
            const char c = text_[at_++];
            if (static_cast<unsigned char>(c) < 0x20) fail("a control character in text");
            if (c == '\\') {
                unescape(value);
            } else {
                value += c;
            }
        }
        ++at_;
        return value;
    }

    void unescape(std::string& value) {
        static const std::string names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        const char c = peek();
        ++at_;
        if (const auto known = names.find(c); c != '\0' && known != std::string::npos) {
            value += meanings[known];
            return;
        }
        if (c != 'u') fail("an unknown escape");
        std::uint32_t code = hex4();
        if (code >= 0xD800 && code < 0xDC00) {
            if (text_.compare(at_, 2, "\\u") != 0) fail("half a surrogate pair");
            at_ += 2;
            const std::uint32_t low = hex4();
            if (low < 0xDC00 || low >= 0xE000) fail("half a surrogate pair");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xDC00 && code < 0xE000) {
            fail("half a surrogate pair");
        }
        append_utf8(value, code);
    }

    std::uint32_t hex4() {
        std::uint32_t code = 0;
        for (int digit = 0; digit < 4; ++digit, ++at_) {
            const auto value = std::string("0123456789abcdefABCDEF").find(peek());
            if (peek() == '\0' || value == std::string::npos) fail("no four hex digits");
            code = 16 * code + static_cast<std::uint32_t>(value < 16 ? value : value - 6);
        }
        return code;
    }

    static void append_utf8(std::string& value, std::uint32_t code) {
        const auto tail = [&](int shift) { value += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
        if (code < 0x80) {
            value += static_cast<char>(code);
        } else if (code < 0x800) {
            value += static_cast<char>(0xC0 | (code >> 6));
            tail(0);
        } else if (code < 0x10000) {
            value += static_cast<char>(0xE0 | (code >> 12));
            tail(6), tail(0);
        } else {
            value += static_cast<char>(0xF0 | (code >> 18));
            tail(12), tail(6), tail(0);
        }
    }

    const std::string& text_;
    std::size_t at_ = 0;
};

struct HeadMask {
    std::size_t num_layers;
    std::size_t num_kv_heads;
    std::string values;  // row-major, 0 or 1

    bool is_retrieval(std::size_t layer, std::size_t kv_head) const {
        return values[layer * num_kv_heads + kv_head] == 1;
    }

    std::size_t num_retrieval() const {
        std::size_t count = 0;
        for (const char value : values) count += value == 1;
        return count;
    }
};

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
    if (size < 0) throw BadFile("it cannot be read");
    if (static_cast<std::uint64_t>(size) > kMaxFileBytes) throw BadFile("it is larger than any mask file");
    std::string bytes(static_cast<std::size_t>(size), '\0');
    file.seekg(0);
    if (!file.read(bytes.data(), size)) throw BadFile("it cannot be read");
    return bytes;
}

// Where the header ends. What a failed download leaves begins with letters, which make an absurd length.
std::size_t header_end(const std::string& bytes) {
    if (bytes.rfind("<", 0) == 0) throw BadFile("it is a web page");
    if (bytes.rfind("version https://git-lfs", 0) == 0) throw BadFile("it is a git-lfs pointer, not the file itself");
    if (bytes.size() < 8) throw BadFile(std::to_string(bytes.size()) + " bytes are too few for a safetensors file");
    std::uint64_t len = 0;
    for (std::size_t i = 8; i-- > 0;) len = (len << 8) | static_cast<unsigned char>(bytes[i]);
    if (len > bytes.size() - 8 || len > kMaxHeaderBytes)
        throw BadFile("the header claims " + std::to_string(len) + " bytes: this is no safetensors file, or a part of one");
    return 8 + static_cast<std::size_t>(len);
}

// Every byte of the data belongs to a tensor, so that a file cut short is never read as a shorter one.
void check_size(const Header& header, std::size_t data_len) {
    std::uint64_t end = 0;
    for (const auto& [name, tensor] : header.tensors) end = std::max(end, tensor.offsets[1]);
    if (end != data_len)
        throw BadFile("its tensors take " + std::to_string(end) + " bytes, the file holds " + std::to_string(data_len));
}

// Says no to a later version, and to a file that means something else by 1 or by "head".
void check_meaning(const Header& header) {
    const std::pair<const char*, const char*> words[] = {
        {"prulong.kind", "kv_head_mask"},          {"prulong.format_version", "1"},
        {"prulong.head_axis", "kv"},               {"prulong.head_order", "checkpoint"},
        {"prulong.mask_values", "1=retrieval,0=streaming"},
    };
    for (const auto& [key, expected] : words) {
        if (header.text(key) != expected)
            throw BadFile(std::string("metadata `") + key + "` is `" + header.text(key) + "`, expected `" + expected + "`");
    }
}

HeadMask read_mask(const Header& header, const std::string& data) {
    const std::uint64_t num_layers = header.count("prulong.num_layers");
    const std::uint64_t num_kv_heads = header.count("prulong.num_kv_heads");
    if (num_layers < 1 || num_layers > kMaxAxis || num_kv_heads < 1 || num_kv_heads > kMaxAxis)
        throw BadFile("masks have 1 to 4096 layers and kv heads");
    const auto found = header.tensors.find("retrieval_mask");
    if (found == header.tensors.end()) throw BadFile("there is no tensor `retrieval_mask`");
    const Tensor& tensor = found->second;
    if (tensor.dtype != "U8") throw BadFile("`retrieval_mask` is " + tensor.dtype + ", expected U8");
    if (tensor.shape != std::vector<std::uint64_t>{num_layers, num_kv_heads})
        throw BadFile("`retrieval_mask` is not [num_layers, num_kv_heads]");
    const std::uint64_t num_heads = num_layers * num_kv_heads, begin = tensor.offsets[0];
    // The end lies within the data: `check_size` compared the largest one.
    if (tensor.offsets[1] - begin != num_heads) throw BadFile("`retrieval_mask` has other offsets than its shape");
    HeadMask mask{num_layers, num_kv_heads, data.substr(begin, num_heads)};
    for (const char value : mask.values) {
        if (value != 0 && value != 1)
            throw BadFile("`retrieval_mask` holds " + std::to_string(static_cast<unsigned char>(value)) + ", expected 0 or 1");
    }
    if (header.count("prulong.num_retrieval") != mask.num_retrieval() ||
        header.count("prulong.num_streaming") != num_heads - mask.num_retrieval())
        throw BadFile("the counts of the metadata are not those of `retrieval_mask`");
    return mask;
}

void print(const HeadMask& mask) {
    const std::size_t num_heads = mask.num_layers * mask.num_kv_heads;
    std::cout << "█ retrieval " << mask.num_retrieval() << " of " << num_heads << "   · streaming "
              << num_heads - mask.num_retrieval() << '\n';
    for (std::size_t layer = 0; layer < mask.num_layers; ++layer) {
        std::string number = std::to_string(layer), cells;
        std::size_t kept = 0;
        for (std::size_t kv_head = 0; kv_head < mask.num_kv_heads; ++kv_head) {
            cells += mask.is_retrieval(layer, kv_head) ? "█ " : "· ";
            kept += mask.is_retrieval(layer, kv_head);
        }
        number.insert(0, number.size() < 3 ? 3 - number.size() : 0, ' ');
        std::cout << "layer " << number << "  " << cells << ' ' << kept << '\n';
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: read_mask FILE\n";
        return 2;
    }
    try {
        const std::string bytes = read_file(argv[1]);
        const std::size_t end = header_end(bytes);
        const std::string text = bytes.substr(8, end - 8), data = bytes.substr(end);
        const Header header = HeaderParser(text).parse();
        check_size(header, data.size());
        check_meaning(header);
        print(read_mask(header, data));
        std::cout << "deploy     sink " << header.text("prulong.sink_len") << ", window " << header.text("prulong.window_len")
                  << ", block " << header.text("prulong.block_len") << '\n'
                  << "base       " << header.text("base_model_name_or_path") << '\n';
    } catch (const std::exception& error) {
        std::cerr << "read_mask: error: cannot use `" << argv[1] << "`: " << error.what() << '\n';
        return 2;
    }
    return std::cout.flush() ? 0 : 2;
}
