#include "config/pgbouncer_ini.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"

static const char *const section_names[INI_SECTION_COUNT] = {"pgbouncer", "databases", "users",
                                                             "peers"};

void pgbouncer_ini_init(struct pgbouncer_ini *ini, struct mem *mem)
{
    memset(ini, 0, sizeof *ini);
    ini->mem = mem;
}

void pgbouncer_ini_free(struct pgbouncer_ini *ini)
{
    for (uint32_t i = 0; i < ini->file_count; i++) {
        if (ini->files[i].text != NULL)
            explicit_bzero(ini->files[i].text, ini->files[i].size);
        mem_free(ini->mem, ini->files[i].text);
    }
    mem_free(ini->mem, ini->entries);
    pgbouncer_ini_init(ini, ini->mem);
}

const struct ini_entry *pgbouncer_ini_find(const struct pgbouncer_ini *ini,
                                           enum ini_section section, struct sv key)
{
    for (size_t i = ini->count; i > 0; i--)
        if (ini->entries[i - 1].section == section && sv_eq(ini->entries[i - 1].key, key))
            return &ini->entries[i - 1];
    return NULL;
}

/* ---- text ---- */

/* How many bytes the UTF-8 character at the front has, or 0: it is none. Overlong forms,
 * surrogates and what is beyond Unicode are none. */
static size_t utf8_size(struct sv text)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t size;
    } forms[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    const unsigned char *bytes = (const unsigned char *)text.data;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (bytes[0] < forms[i].first_low || bytes[0] > forms[i].first_high)
            continue;
        if (text.size < forms[i].size || bytes[1] < forms[i].second_low ||
            bytes[1] > forms[i].second_high)
            return 0;
        for (size_t k = 2; k < forms[i].size; k++)
            if ((bytes[k] & 0xC0) != 0x80)
                return 0;
        return forms[i].size;
    }
    return 0;
}

/* C1 control characters (U+0080 to U+009F), and what YAML does not let stand: byte order marks and
 * U+FFFE, U+FFFF. */
static bool is_unprintable(const char *bytes, size_t size)
{
    return (size == 2 && bytes[0] == '\xC2' && (unsigned char)bytes[1] < 0xA0) ||
           (size == 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) ||
           (size == 3 && memcmp(bytes, "\xEF\xBF\xBE", 3) >= 0 && bytes[0] == '\xEF');
}

static bool is_clean(struct sv line)
{
    while (line.size > 0) {
        const unsigned char byte = (unsigned char)line.data[0];
        size_t size = 1;
        if (byte >= 0x80)
            size = utf8_size(line);
        else if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            return false;
        if (size == 0 || (size > 1 && is_unprintable(line.data, size)))
            return false;
        line = sv_drop(line, size);
    }
    return true;
}

/* ---- lines ---- */

struct reader {
    struct pgbouncer_ini *ini;
    uint32_t file;
    uint32_t line;
    unsigned depth;
    int section; /* -1: before the first */
    struct hf_err *err;
};

static enum hf_rc open_file(struct pgbouncer_ini *ini, const char *path, struct hf_err *err);
static enum hf_rc read_lines(struct pgbouncer_ini *ini, uint32_t file, int *section, unsigned depth,
                             struct hf_err *err);

static enum hf_rc fail(struct reader *reader, const char *words)
{
    err_set(reader->err, HF_RC_INVALID, "F0000", "%s:%u: %s", reader->ini->files[reader->file].path,
            (unsigned)reader->line, words);
    return HF_RC_INVALID;
}

static enum hf_rc add_entry(struct reader *reader, struct sv key, struct sv value)
{
    struct pgbouncer_ini *ini = reader->ini;
    if (ini->count == INI_ENTRIES_MAX)
        return fail(reader, "there are too many settings");
    if (ini->count == ini->room) {
        const size_t room = ini->room > 0 ? 2 * ini->room : 128;
        struct ini_entry *entries = mem_alloc_array(ini->mem, room, sizeof *entries);
        if (entries == NULL)
            return mem_refused(ini->mem, room * sizeof *entries, reader->err);
        if (ini->count > 0)
            memcpy(entries, ini->entries, ini->count * sizeof *entries);
        mem_free(ini->mem, ini->entries);
        ini->entries = entries;
        ini->room = room;
    }
    ini->entries[ini->count++] = (struct ini_entry){.section = (enum ini_section)reader->section,
                                                    .file = reader->file,
                                                    .line = reader->line,
                                                    .key = key,
                                                    .value = value};
    return HF_OK;
}

static bool is_key_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_.-*", c) != NULL);
}

static enum hf_rc read_setting(struct reader *reader, struct sv line)
{
    struct sv key;
    if (line.data[0] == '"') {
        /* In place: the text is the reader's own copy. */
        if (!sv_take_quoted(&line, (char *)(uintptr_t)line.data, &key))
            return fail(reader, "a quote does not end");
    } else {
        size_t size = 0;
        while (size < line.size && is_key_byte(line.data[size]))
            size++;
        key = sv_take(line, size);
        line = sv_drop(line, size);
    }
    line = sv_trim(line);
    if (key.size == 0 || line.size == 0 || line.data[0] != '=')
        return fail(reader, "this is no setting, no section and no comment");
    if (reader->section < 0)
        return fail(reader, "this setting stands before the first section");
    return add_entry(reader, key, sv_trim(sv_drop(line, 1)));
}

static enum hf_rc read_section(struct reader *reader, struct sv line)
{
    const size_t end = sv_find(line, ']');
    const struct sv name = sv_take(sv_drop(line, 1), end - 1);
    if (end == line.size || sv_trim(sv_drop(line, end + 1)).size > 0)
        return fail(reader, "this is no section");
    for (int i = 0; i < INI_SECTION_COUNT; i++) {
        if (!sv_eq(name, sv_from_cstr(section_names[i])))
            continue;
        reader->section = i;
        return HF_OK;
    }
    fail(reader, "PgBouncer knows no such section");
    return err_hint(reader->err, "Its sections are databases, users, peers and pgbouncer.");
}

/* The folder of the file that includes, when the current one has no such file. */
static void find_included(const struct reader *reader, struct sv name, char out[INI_PATH_SIZE])
{
    const char *here = reader->ini->files[reader->file].path;
    const char *slash = strrchr(here, '/');
    const bool fits = sv_copy(name, out, INI_PATH_SIZE);
    if (!fits || out[0] == '/' || slash == NULL || access(out, F_OK) == 0)
        return;
    const int size = (int)(slash - here);
    if ((size_t)snprintf(out, INI_PATH_SIZE, "%.*s/%.*s", size, here, (int)name.size, name.data) >=
        INI_PATH_SIZE)
        out[0] = '\0';
}

static enum hf_rc read_include(struct reader *reader, struct sv line)
{
    char path[INI_PATH_SIZE];
    const struct sv name = sv_trim(sv_drop(line, sizeof "%include" - 1));
    find_included(reader, name, path);
    if (path[0] == '\0')
        return fail(reader, "this names no file");
    if (reader->depth == INI_DEPTH_MAX)
        return fail(reader, "files include each other too deeply");
    struct pgbouncer_ini *ini = reader->ini;
    const uint32_t file = ini->file_count;
    if (open_file(ini, path, reader->err) != HF_OK)
        return err_while(reader->err, "%s:%u", ini->files[reader->file].path,
                         (unsigned)reader->line);
    return read_lines(ini, file, &reader->section, reader->depth + 1, reader->err);
}

static enum hf_rc read_line(struct reader *reader, struct sv line)
{
    static const struct sv include = SV_INIT("%include");
    line = sv_trim(line);
    if (line.size == 0 || line.data[0] == ';' || line.data[0] == '#')
        return HF_OK;
    if (!is_clean(line))
        return fail(reader, "this has bytes that are no text in UTF-8");
    if (sv_starts_with(line, include) && line.size > include.size &&
        (line.data[include.size] == ' ' || line.data[include.size] == '\t'))
        return read_include(reader, line);
    if (line.data[0] == '[')
        return read_section(reader, line);
    return read_setting(reader, line);
}

static enum hf_rc read_lines(struct pgbouncer_ini *ini, uint32_t file, int *section, unsigned depth,
                             struct hf_err *err)
{
    struct reader reader = {
        .ini = ini, .file = file, .depth = depth, .section = *section, .err = err};
    struct sv rest = sv_from(ini->files[file].text, ini->files[file].size), line;
    while (sv_split(&rest, '\n', &line)) {
        reader.line++;
        const enum hf_rc rc = read_line(&reader, line);
        if (rc != HF_OK)
            return rc;
    }
    *section = reader.section;
    return HF_OK;
}

/* ---- files ---- */

/* A place for one more file, with `size` bytes of text; NULL: err says why not. */
static struct ini_file *add_file(struct pgbouncer_ini *ini, const char *path, size_t size,
                                 struct hf_err *err)
{
    if (ini->file_count == INI_FILES_MAX) {
        err_set(err, HF_RC_LIMIT, "54000", "there are more than %d files", INI_FILES_MAX);
        return NULL;
    }
    struct ini_file *file = &ini->files[ini->file_count];
    if (!sv_copy(sv_from_cstr(path), file->path, sizeof file->path)) {
        err_set(err, HF_RC_INVALID, "F0000", "a file's name is too long");
        return NULL;
    }
    file->text = mem_alloc(ini->mem, size);
    if (file->text == NULL) {
        mem_refused(ini->mem, size, err);
        return NULL;
    }
    file->size = size;
    ini->file_count++;
    return file;
}

/* Its text, as the next of the files. */
static enum hf_rc open_file(struct pgbouncer_ini *ini, const char *path, struct hf_err *err)
{
    const int64_t size = file_size(path);
    if (size > (int64_t)INI_FILE_SIZE)
        return err_set(err, HF_RC_LIMIT, "54000", "\"%s\" is too large for a configuration", path);
    struct ini_file *file = add_file(ini, path, (size_t)size + 1, err);
    if (file == NULL)
        return err->rc;
    const enum hf_rc rc = file_read(path, file->text, file->size, err);
    file->size = strlen(file->text);
    return rc;
}

enum hf_rc pgbouncer_ini_read(struct pgbouncer_ini *ini, const char *path, struct hf_err *err)
{
    int section = -1;
    const uint32_t file = ini->file_count;
    const enum hf_rc rc = open_file(ini, path, err);
    return rc == HF_OK ? read_lines(ini, file, &section, 0, err) : rc;
}

enum hf_rc pgbouncer_ini_read_text(struct pgbouncer_ini *ini, struct sv text, const char *name,
                                   struct hf_err *err)
{
    int section = -1;
    struct ini_file *file = add_file(ini, name, text.size, err);
    if (file == NULL)
        return err->rc;
    if (text.size > 0)
        memcpy(file->text, text.data, text.size);
    return read_lines(ini, ini->file_count - 1, &section, 0, err);
}

/* ---- pairs ---- */

static enum hf_rc broken(struct hf_err *err, const char *words)
{
    return err_set(err, HF_RC_INVALID, "F0000", "this is no list of key=value: %s", words);
}

static bool take_value(struct sv *rest, char out[INI_VALUE_SIZE], struct hf_err *err)
{
    const bool is_quoted = rest->size > 0 && rest->data[0] == '\'';
    size_t used = 0, i = is_quoted ? 1 : 0;
    bool has_end = !is_quoted;
    for (; i < rest->size && !(is_quoted && has_end); i++) {
        const char c = rest->data[i];
        if (!is_quoted && c == ' ')
            break;
        if (is_quoted && c == '\'') {
            has_end = i + 1 == rest->size || rest->data[i + 1] != '\'';
            if (has_end)
                continue;
            i++;
        }
        if (used + 1 == INI_VALUE_SIZE) {
            broken(err, "a value is too long");
            return false;
        }
        out[used++] = c;
    }
    out[used] = '\0';
    if (!has_end)
        broken(err, "a quote does not end");
    else if (used == 0)
        broken(err, "a value is missing");
    *rest = sv_drop(*rest, i);
    return has_end && used > 0;
}

bool ini_pair_next(struct sv *rest, struct ini_pair *pair, struct hf_err *err)
{
    err_clear(err);
    *rest = sv_trim(*rest);
    if (rest->size == 0)
        return false;
    size_t size = 0;
    while (size < rest->size && rest->data[size] != '=' && rest->data[size] != ' ')
        size++;
    pair->key = sv_take(*rest, size);
    *rest = sv_trim(sv_drop(*rest, size));
    if (size == 0 || rest->size == 0 || rest->data[0] != '=') {
        broken(err, "a key has no =");
        return false;
    }
    *rest = sv_trim(sv_drop(*rest, 1));
    return take_value(rest, pair->value, err);
}
