//! Sockets.

use super::group;
use crate::syscall::flags::network::*;
use crate::syscall::flags::socket_option::*;
use crate::syscall::ArgKind::*;

group! { Network:
    socket(family: Flags(&FAMILY), type: Flags(&SOCKET_TYPE), protocol: By { arg: 0, kind: protocol });
    socketpair(family: Flags(&FAMILY), type: Flags(&SOCKET_TYPE), protocol: By { arg: 0, kind: protocol }, usockvec: Ptr);
    connect(fd: Fd, uservaddr: SockaddrIn { len: 2 }, addrlen: Int);
    bind(fd: Fd, umyaddr: SockaddrIn { len: 2 }, addrlen: Int);
    listen(fd: Fd, backlog: Int);
    accept(fd: Fd, upeer_sockaddr: SockaddrOut { len: 2 }, upeer_addrlen: Ptr);
    accept4(fd: Fd, upeer_sockaddr: SockaddrOut { len: 2 }, upeer_addrlen: Ptr, flags: Flags(&SOCKET_FLAGS));
    getsockname(fd: Fd, usockaddr: SockaddrOut { len: 2 }, usockaddr_len: Ptr);
    getpeername(fd: Fd, usockaddr: SockaddrOut { len: 2 }, usockaddr_len: Ptr);
    sendto(fd: Fd, buff: Ptr, len: Size, flags: Flags(&MSG), addr: SockaddrIn { len: 5 }, addr_len: Int);
    recvfrom(fd: Fd, ubuf: Ptr, size: Size, flags: Flags(&MSG), addr: SockaddrOut { len: 5 }, addr_len: Ptr);
    sendmsg(fd: Fd, msg: Ptr, flags: Flags(&MSG));
    recvmsg(fd: Fd, msg: Ptr, flags: Flags(&MSG));
    sendmmsg(fd: Fd, mmsg: Ptr, vlen: UInt, flags: Flags(&MSG));
    recvmmsg(fd: Fd, mmsg: Ptr, vlen: UInt, flags: Flags(&MSG), timeout: Ptr);
    shutdown(fd: Fd, how: Flags(&SHUTDOWN));
    setsockopt(fd: Fd, level: Flags(&SOCKET_LEVEL), optname: By { arg: 1, kind: option }, optval: Ptr, optlen: Int);
    getsockopt(fd: Fd, level: Flags(&SOCKET_LEVEL), optname: By { arg: 1, kind: option }, optval: Ptr, optlen: Ptr);
}
