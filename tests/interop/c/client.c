/* Debian's C client: its calls, its watchers and a pipelined burst; the same lines every time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zookeeper.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected, events, answered, in_order = 1;

static void session_event(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh, (void)path, (void)context;
    pthread_mutex_lock(&lock);
    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE)
        connected++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void node_event(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh;
    if (type == ZOO_SESSION_EVENT)
        return;
    pthread_mutex_lock(&lock);
    printf("event %s: type %d state %d %s\n", (const char *)context, type, state, path);
    events++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await(int *counter, int wanted) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    pthread_mutex_lock(&lock);
    while (*counter < wanted && pthread_cond_timedwait(&changed, &lock, &end) == 0)
        ;
    if (*counter < wanted)
        printf("waited in vain for %d, have %d\n", wanted, *counter);
    pthread_mutex_unlock(&lock);
}

static zhandle_t *open_session(const char *address, const clientid_t *id) {
    int before = connected;
    zhandle_t *zh = zookeeper_init(address, session_event, 10000, id, NULL, 0);
    if (!zh) {
        printf("no handle\n");
        exit(1);
    }
    await(&connected, before + 1);
    return zh;
}

static void show_stat(const char *words, int rc, const struct Stat *s) {
    if (rc)
        printf("%s -> %s\n", words, zerror(rc));
    else
        printf("%s -> version %d cversion %d aversion %d length %d children %d ephemeral %d\n",
               words, s->version, s->cversion, s->aversion, s->dataLength, s->numChildren,
               s->ephemeralOwner != 0);
}

static void create(zhandle_t *zh, const char *path, const char *data, int mode) {
    char made[256] = "";
    int length = data ? (int)strlen(data) : -1;
    int rc = zoo_create(zh, path, data, length, &ZOO_OPEN_ACL_UNSAFE, mode, made, sizeof made);
    printf("create %s mode %d -> %s %s\n", path, mode, rc ? zerror(rc) : "ok", made);
}

static void get(zhandle_t *zh, const char *path) {
    char buffer[256];
    int length = sizeof buffer;
    struct Stat s;
    int rc = zoo_get(zh, path, 0, buffer, &length, &s);
    if (rc)
        printf("get %s -> %s\n", path, zerror(rc));
    else
        printf("get %s -> %d bytes %.*s\n", path, length, length > 0 ? length : 0, buffer);
}

static void nodes(zhandle_t *zh) {
    struct Stat s;
    create(zh, "/a", "one", 0);
    create(zh, "/a", "one", 0);
    create(zh, "/none/x", "one", 0);
    create(zh, "/null", NULL, 0);
    create(zh, "/e", "", ZOO_EPHEMERAL);
    create(zh, "/e/x", "", 0);
    create(zh, "/a/s-", "", ZOO_SEQUENCE);
    create(zh, "/a/es-", "", ZOO_SEQUENCE | ZOO_EPHEMERAL);
    create(zh, "/container", "", ZOO_CONTAINER);
    get(zh, "/a");
    get(zh, "/null");
    get(zh, "/none");
    show_stat("set /a", zoo_set2(zh, "/a", "two", 3, -1, &s), &s);
    show_stat("set /a version 5", zoo_set2(zh, "/a", "two", 3, 5, &s), &s);
    show_stat("exists /a", zoo_exists(zh, "/a", 0, &s), &s);
    show_stat("exists /none", zoo_exists(zh, "/none", 0, &s), &s);
    printf("delete /a -> %s\n", zerror(zoo_delete(zh, "/a", -1)));
    printf("delete /null version 4 -> %s\n", zerror(zoo_delete(zh, "/null", 4)));
    printf("delete /null -> %s\n", zerror(zoo_delete(zh, "/null", 0)));
    char path[64];
    int rc = zoo_create_ttl(zh, "/ttl", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL,
                            100000, path, sizeof path);
    printf("ttl -> %s\n", zerror(rc));
    rc = zoo_create2(zh, "/two", "22", 2, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path, &s);
    show_stat("create2 /two", rc, &s);
}

static int by_name(const void *one, const void *two) {
    return strcmp(*(char *const *)one, *(char *const *)two);
}

static void children(zhandle_t *zh) {
    struct String_vector names;
    struct Stat s;
    int rc = zoo_get_children2(zh, "/a", 0, &names, &s);
    show_stat("children /a", rc, &s);
    if (rc)
        return;
    qsort(names.data, names.count, sizeof *names.data, by_name);
    for (int i = 0; i < names.count; i++)
        printf("  %s\n", names.data[i]);
    deallocate_String_vector(&names);
    printf("children /none -> %s\n", zerror(zoo_get_children(zh, "/none", 0, &names)));
}

static void lists(zhandle_t *zh) {
    struct ACL_vector acl;
    struct Stat s;
    int rc = zoo_get_acl(zh, "/a", &acl, &s);
    printf("acl /a -> %s\n", zerror(rc));
    for (int i = 0; rc == 0 && i < acl.count; i++)
        printf("  %d %s %s\n", acl.data[i].perms, acl.data[i].id.scheme, acl.data[i].id.id);
    deallocate_ACL_vector(&acl);
    printf("read only -> %s\n", zerror(zoo_set_acl(zh, "/two", -1, &ZOO_READ_ACL_UNSAFE)));
    printf("set -> %s\n", zerror(zoo_set(zh, "/two", "x", 1, -1)));
    printf("its list again -> %s\n", zerror(zoo_set_acl(zh, "/two", -1, &ZOO_OPEN_ACL_UNSAFE)));
}

static void many_ops(zhandle_t *zh) {
    char one[64], two[64];
    struct Stat s;
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    memset(results, 0, sizeof results);
    zoo_create_op_init(&ops[0], "/m", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, one, sizeof one);
    zoo_create_op_init(&ops[1], "/m/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, 2, two, sizeof two);
    zoo_set_op_init(&ops[2], "/m", "y", 1, 0, &s);
    zoo_check_op_init(&ops[3], "/m", 1);
    printf("multi -> %s %s %s\n", zerror(zoo_multi(zh, 4, ops, results)), one, two);
    zoo_delete_op_init(&ops[0], two, -1);
    zoo_check_op_init(&ops[1], "/m", 9);
    zoo_delete_op_init(&ops[2], "/m", -1);
    printf("multi -> %s\n", zerror(zoo_multi(zh, 3, ops, results)));
    for (int i = 0; i < 3; i++)
        printf("  %d\n", results[i].err);
    show_stat("still there", zoo_exists(zh, two, 0, &s), &s);
}

static void watches(zhandle_t *zh, zhandle_t *other) {
    struct Stat s;
    struct String_vector names;
    char buffer[8];
    int length = sizeof buffer;
    zoo_wexists(zh, "/w", node_event, "exists", &s);
    zoo_create(other, "/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    await(&events, 1);
    zoo_wget(zh, "/w", node_event, "data", buffer, &length, &s);
    if (zoo_wget_children(zh, "/w", node_event, "children", &names) == 0)
        deallocate_String_vector(&names);
    zoo_set(other, "/w", "1", 1, -1);
    await(&events, 2);
    zoo_create(other, "/w/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    await(&events, 3);
    zoo_wexists(zh, "/w/c", node_event, "exists", &s);
    zoo_delete(other, "/w/c", -1);
    await(&events, 4);
    zoo_wexists(zh, "/w", node_event, "removed", &s);
    printf("remove -> %s\n",
           zerror(zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, node_event, "removed", 0)));
    printf("again -> %s\n",
           zerror(zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, node_event, "removed", 0)));
}

static void set_answer(int rc, const struct Stat *s, const void *data) {
    pthread_mutex_lock(&lock);
    if (rc != 0 || s->version != (int)(long)data)
        in_order = 0;
    answered++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void pipelined(zhandle_t *zh) {
    create(zh, "/p", "", 0);
    for (long i = 1; i <= 500; i++)
        zoo_aset(zh, "/p", "x", 1, -1, set_answer, (void *)i);
    await(&answered, 500);
    printf("pipelined %d in order %d\n", answered, in_order);
}

static void auth_done(int rc, const void *data) {
    (void)data;
    pthread_mutex_lock(&lock);
    printf("auth -> %s\n", zerror(rc));
    answered = 1000;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

int main(int count, char **words) {
    (void)count;
    zoo_set_debug_level(0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    zhandle_t *zh = open_session(words[1], NULL), *other = open_session(words[1], NULL);
    nodes(zh);
    children(zh);
    lists(zh);
    many_ops(zh);
    watches(zh, other);
    pipelined(zh);
    zoo_add_auth(zh, "digest", "u:p", 3, auth_done, NULL);
    await(&answered, 1000);
    int rc = zoo_create(zh, "/mine", "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0);
    printf("creator's -> %s\n", zerror(rc));
    get(other, "/mine");
    get(zh, "/mine");
    printf("close -> %s\n", zerror(zookeeper_close(zh)));
    struct Stat s;
    show_stat("ephemeral of the closed", zoo_exists(other, "/e", 0, &s), &s);
    printf("close -> %s\n", zerror(zookeeper_close(other)));
    return 0;
}
