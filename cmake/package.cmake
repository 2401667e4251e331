# Debian packages: cpack -G DEB in a release build.
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT compiler)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT compiler
        PATTERN examples EXCLUDE)
install(DIRECTORY docs/examples DESTINATION ${CMAKE_INSTALL_DOCDIR}
        COMPONENT development)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "vitqc developers <developers@vitqc.dev>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # first lines below
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/debian/stage.cmake)
set(CPACK_COMPONENTS_ALL compiler runtime development python)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(ldconfig ${PROJECT_SOURCE_DIR}/cmake/debian/triggers)
set(CPACK_DEBIAN_COMPILER_PACKAGE_CONTROL_EXTRA ${ldconfig})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${ldconfig})
set(same "(= ${PROJECT_VERSION})")

# The command, libvitqc, and the archive that goes into models. Models are linked by `cc`.
set(CPACK_DEBIAN_COMPILER_PACKAGE_NAME vitqc)
set(CPACK_DEBIAN_COMPILER_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_COMPILER_PACKAGE_DEPENDS "gcc | c-compiler, libc6-dev")
set(CPACK_COMPONENT_COMPILER_DESCRIPTION
"compiler for vision transformers
Reads a vision transformer as an ONNX model and writes a shared object of
native code for the CPU, with floats or 8-bit and narrower integers, which
needs no other library to run. It calibrates integer models with pictures
that it makes out of the model itself.")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libvitq0)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION
"runtime of models compiled by vitqc
Loads and runs models that vitqc compiled: chooses the code for this CPU
and divides work among threads. It needs nothing but the C library.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libvitqc-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "vitqc ${same}, libvitq0 ${same}, libc6-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
"compiler for vision transformers - development files
Headers, manual pages and examples for programs that compile models, that
run compiled ones, and for plugins with passes of their own.")

set(CPACK_DEBIAN_PYTHON_PACKAGE_NAME python3-vitqc)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS "python3:any, libvitq0 (>= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PYTHON_PACKAGE_RECOMMENDS
    "python3-numpy, vitqc (>= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PYTHON_PACKAGE_CONTROL_EXTRA
    ${PROJECT_SOURCE_DIR}/cmake/debian/postinst
    ${PROJECT_SOURCE_DIR}/cmake/debian/prerm)
set(CPACK_COMPONENT_PYTHON_DESCRIPTION
"compiler for vision transformers - Python module
A Python module that compiles models, runs compiled ones on NumPy arrays and
reads reports. Compiling needs vitqc, running needs NumPy.")
include(CPack)
